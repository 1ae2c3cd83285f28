package testpattern

import (
	"fmt"
	"image"
	"math"

	xfont "golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gomonobold"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// advance is the width of every glyph of Go Mono in em.
const advance = 0.6

// font is Go Mono of one size, as luma that is copied into the picture.
type font struct {
	width, height int // of a glyph's cell, pixels
	face          xfont.Face
	glyphs        map[rune][]byte // cells, drawn when first needed
}

func newFont(em float64) (*font, error) {
	parsed, err := opentype.Parse(gomonobold.TTF)
	if err != nil {
		return nil, fmt.Errorf("parse font: %w", err)
	}
	face, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: em, DPI: 72, Hinting: xfont.HintingFull})
	if err != nil {
		return nil, fmt.Errorf("size font: %w", err)
	}
	return &font{
		width: int(math.Round(advance * em)), height: even(1.2 * em),
		face: face, glyphs: make(map[rune][]byte),
	}, nil
}

// glyph returns the cell of a character, white on black.
func (f *font) glyph(r rune) []byte {
	if cell, ok := f.glyphs[r]; ok {
		return cell
	}
	cell := image.NewAlpha(image.Rect(0, 0, f.width, f.height))
	d := xfont.Drawer{Dst: cell, Src: image.Opaque, Face: f.face}
	d.Dot = fixed.P(0, int(math.Round(0.77*float64(f.height))))
	d.DrawString(string(r))
	for i, a := range cell.Pix {
		cell.Pix[i] = byte(black + (white-black)*int(a)/255)
	}
	f.glyphs[r] = cell.Pix
	return cell.Pix
}

// write puts a line of text into the panel, centred. Where it has the length
// of the text that is there, only the characters that differ are painted. It
// returns what is there then.
func (r *painter) write(c *canvas, f *font, line int, text, there []rune) []rune {
	text = text[:min(len(text), r.panel.w/f.width)]
	if len(text) != len(there) {
		c.luma(rect{r.panel.x, r.rows[line], r.panel.w, f.height}, black)
		there = nil
	}
	x := r.panel.x + (r.panel.w-len(text)*f.width)/2
	for i, char := range text {
		if there == nil || there[i] != char {
			c.paste(x+i*f.width, r.rows[line], f.width, f.glyph(char))
		}
	}
	return append(there[:0], text...)
}

// paste copies a cell of luma, rows of w bytes.
func (c *canvas) paste(x, y, w int, cell []byte) {
	for ; len(cell) > 0; cell, y = cell[w:], y+1 {
		copy(c.y[y*c.width+x:], cell[:w])
	}
}
