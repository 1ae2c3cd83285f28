package testpattern

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/lenscast/lenscast/capture/encode"
)

// Luma of black, white and the band that the ball moves in (BT.709, limited
// range).
const (
	black = 16
	white = 235
	dark  = 40
	grey  = 128 // of both chroma planes: no colour
)

// bars are the 75 % colour bars of ITU-R BT.709 as Y, Cb, Cr.
var bars = [8][3]byte{
	{180, 128, 128},
	{168, 44, 136},
	{145, 147, 44},
	{133, 63, 52},
	{63, 193, 204},
	{51, 109, 212},
	{28, 212, 120},
	{16, 128, 128},
}

// codeBits is the width of the frame number's code.
const codeBits = 16

// painter knows where everything is in a picture of one size. What it paints
// on is a canvas.
type painter struct {
	p             Params
	width, height int
	block         int // side of a block of the code, 0 when it does not fit

	ramp int // first row of the ramp of greys, the end of the bars
	band int // first row of the band that the ball moves in
	ball sprite

	snow                       [2]rect // beside the panel, empty without snow
	panel                      rect
	name, clock, number, about *font  // nil when the picture is too small for text
	rows                       [4]int // first row of each line of text
}

// rect is a part of the picture; all of it is even, for the chroma planes.
type rect struct{ x, y, w, h int }

func newPainter(p Params) (*painter, error) {
	w, h := p.Width, p.Height
	r := &painter{p: p, width: w, height: h, ramp: even(0.66 * float64(h)), band: even(0.72 * float64(h))}
	if side := even(math.Max(8, float64(w)/80)); codeBits*side <= w && 2*side <= r.ramp {
		r.block = side
	}
	r.ball = disc(even(float64(h-r.band) * 0.4))
	if err := r.layOutText(); err != nil {
		return nil, err
	}
	if p.snows() {
		top := 2 * r.block
		right := r.panel.x + r.panel.w
		r.snow = [2]rect{{0, top, r.panel.x, r.ramp - top}, {right, top, w - right, r.ramp - top}}
	}
	return r, nil
}

// layOutText puts four lines in a panel over the bars: the name, the clock,
// the frame's number, and what the picture is.
func (r *painter) layOutText() error {
	const (
		clockLength = 12.0 // of "15:04:05.000"
		lineHeights = 3.5  // of all lines and the space around them
		minimum     = 12   // pixels, to be legible
	)
	y := max(even(0.06*float64(r.height)), 2*r.block+even(float64(r.block)/2))
	em := math.Min(0.62*float64(r.width)/(clockLength*advance), float64(r.ramp-y)/lineHeights)
	if em < minimum {
		return nil
	}
	r.panel = rect{w: even((clockLength + 1) * advance * em), y: y}
	r.panel.x = even(float64(r.width-r.panel.w) / 2)
	y += even(0.1 * em)
	for i, line := range []struct {
		font **font
		em   float64
	}{{&r.name, 0.45 * em}, {&r.clock, em}, {&r.number, 0.8 * em}, {&r.about, 0.36 * em}} {
		f, err := newFont(line.em)
		if err != nil {
			return err
		}
		*line.font, r.rows[i] = f, y
		y += f.height
	}
	r.panel.h = even(float64(y-r.panel.y) + 0.1*em)
	return nil
}

// even rounds up to an even number.
func even(x float64) int { return 2 * int(math.Ceil(x/2)) }

// canvas is a picture and what was painted on it last, so that only what
// changes is painted again.
type canvas struct {
	y, u, v               []byte
	width, height         int
	ball                  rect
	clockText, numberText []rune
}

func (c *canvas) picture(pts time.Duration, captured time.Time, release func()) encode.Picture {
	return encode.Picture{
		Planes:  [3][]byte{c.y, c.u, c.v},
		Strides: [3]int{c.width, c.width / 2, c.width / 2},
		PTS:     pts, Captured: captured, Release: release,
	}
}

// newCanvas makes a canvas with all that never changes.
func (r *painter) newCanvas() *canvas {
	w, h := r.width, r.height
	c := &canvas{width: w, height: h, y: make([]byte, w*h), u: make([]byte, w*h/4), v: make([]byte, w*h/4)}
	for i, bar := range bars {
		x0, x1 := i*w/8&^1, (i+1)*w/8&^1
		c.fill(rect{x0, 0, x1 - x0, r.ramp}, bar[0], bar[1], bar[2])
	}
	for x := 0; x < w; x += 2 {
		c.fill(rect{x, r.ramp, 2, r.band - r.ramp}, byte(black+(white-black)*x/w), grey, grey)
	}
	c.fill(rect{0, r.band, w, h - r.band}, dark, grey, grey)
	if r.name != nil {
		c.fill(r.panel, black, grey, grey)
		r.write(c, r.name, 0, []rune(r.p.Name), nil)
		r.write(c, r.about, 3, []rune(fmt.Sprintf("%dx%d %g fps", w, h, r.p.FPS)), nil)
	}
	if r.block != 0 {
		c.fill(rect{0, 0, codeBits * r.block, 2 * r.block}, black, grey, grey)
	}
	return c
}

// paint makes the canvas show frame n at the time now.
func (r *painter) paint(c *canvas, n int, now time.Time) {
	r.paintCode(c, n)
	r.paintBall(c, n)
	r.paintSnow(c, n)
	if r.clock == nil {
		return
	}
	c.clockText = r.write(c, r.clock, 1, []rune(now.Format("15:04:05.000")), c.clockText)
	c.numberText = r.write(c, r.number, 2, []rune(fmt.Sprintf("frame %d", n)), c.numberText)
}

func (r *painter) paintCode(c *canvas, n int) {
	side := r.block
	for bit := range codeBits {
		if side == 0 {
			return
		}
		upper, lower := byte(black), byte(white)
		if n>>(codeBits-1-bit)&1 == 1 {
			upper, lower = lower, upper
		}
		c.luma(rect{bit * side, 0, side, side}, upper)
		c.luma(rect{bit * side, side, side, side}, lower)
	}
}

// paintBall lets the ball run from side to side in 4 s and bounce twice a
// second. Its place follows from n alone, so the motion is even.
func (r *painter) paintBall(c *canvas, n int) {
	t := float64(n) / r.p.FPS
	side := r.ball.side
	x := math.Abs(math.Mod(t/4, 2)-1) * float64(r.width-side)
	y := (1 - math.Abs(math.Sin(t*2*math.Pi))) * float64(r.height-r.band-side)
	c.luma(c.ball, dark)
	c.ball = rect{int(x), r.band + int(y), side, side}
	for row := range side {
		copyMask(c.y[(c.ball.y+row)*c.width+c.ball.x:], r.ball.luma[row*side:][:side])
	}
}

// paintSnow fills the sides with noise, which no encoder can foresee.
func (r *painter) paintSnow(c *canvas, n int) {
	random := uint64(n)<<32 | 1
	for _, side := range r.snow {
		for y := side.y; y < side.y+side.h; y++ {
			row := c.y[y*c.width+side.x:][:side.w]
			for len(row) > 0 { // xorshift64
				random ^= random << 13
				random ^= random >> 7
				random ^= random << 17
				var b [8]byte
				binary.LittleEndian.PutUint64(b[:], random&snowMask+snowLevel)
				row = row[copy(row, b[:]):]
			}
		}
	}
}

// Each byte of snow is a luma of 104 to 135.
const (
	snowMask  = 0x1f1f1f1f1f1f1f1f
	snowLevel = 0x6868686868686868
)

// copyMask copies what is not the background.
func copyMask(dst, src []byte) {
	for i, v := range src {
		if v != dark {
			dst[i] = v
		}
	}
}

// fill paints all planes of an even rect.
func (c *canvas) fill(r rect, y, u, v byte) {
	c.luma(r, y)
	for row := r.y / 2; row < (r.y+r.h)/2; row++ {
		at := row*c.width/2 + r.x/2
		set(c.u[at:at+r.w/2], u)
		set(c.v[at:at+r.w/2], v)
	}
}

// luma paints the luma plane alone.
func (c *canvas) luma(r rect, y byte) {
	for row := r.y; row < r.y+r.h; row++ {
		set(c.y[row*c.width+r.x:][:r.w], y)
	}
}

func set(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// sprite is a square of luma.
type sprite struct {
	side int
	luma []byte
}

// disc draws a ball with a soft edge on the dark band.
func disc(side int) sprite {
	s := sprite{side: side, luma: make([]byte, side*side)}
	radius := float64(side) / 2
	for y := range side {
		for x := range side {
			d := radius - math.Hypot(float64(x)+0.5-radius, float64(y)+0.5-radius)
			s.luma[y*side+x] = byte(dark + (white-dark)*min(max(d, 0), 1))
		}
	}
	return s
}
