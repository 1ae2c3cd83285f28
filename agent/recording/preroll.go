package recording

import (
	"time"

	"github.com/lenscast/lenscast/capture/aac"
	"github.com/lenscast/lenscast/capture/h264"
)

// picture is an access unit and when it came.
type picture struct {
	au      *h264.AccessUnit
	arrived time.Time
}

// preRoll keeps the last pictures in memory, from an IDR on, with their sound.
// It keeps at least the current group of pictures, which the stream keeps as well, and
// never more than limit bytes.
type preRoll struct {
	length time.Duration
	limit  int // bytes

	pictures []picture // the first is an IDR
	bytes    int       // of the pictures
	audio    audioQueue
}

// add takes the next picture and lets go of what is too old, or too much.
func (p *preRoll) add(pic picture) {
	if len(p.pictures) == 0 && !pic.au.Key {
		p.audio.clear()
		return
	}
	p.pictures = append(p.pictures, pic)
	p.bytes += pic.au.Size()
	p.audio.before(p.pictures[0].au.PTS, func(*aac.Frame) {}) // with no picture any more
	for {
		next := p.secondIDR()
		tooMuch := p.bytes+p.audio.bytes > p.limit
		if next == 0 {
			if tooMuch { // one group of pictures alone: wait for the next
				p.clear()
			}
			return
		}
		if !tooMuch && pic.au.PTS-p.pictures[next].au.PTS < p.length {
			return
		}
		p.drop(next)
	}
}

// secondIDR returns the index of the IDR after the first, 0 when there is none.
func (p *preRoll) secondIDR() int {
	for i := 1; i < len(p.pictures); i++ {
		if p.pictures[i].au.Key {
			return i
		}
	}
	return 0
}

func (p *preRoll) drop(n int) {
	for _, pic := range p.pictures[:n] {
		p.bytes -= pic.au.Size()
	}
	kept := copy(p.pictures, p.pictures[n:])
	clear(p.pictures[kept:])
	p.pictures = p.pictures[:kept]
	p.audio.before(p.pictures[0].au.PTS, func(*aac.Frame) {})
}

func (p *preRoll) clear() {
	clear(p.pictures)
	p.pictures, p.bytes = p.pictures[:0], 0
	p.audio.clear()
}

// span returns the media time that is kept.
func (p *preRoll) span() time.Duration {
	if len(p.pictures) == 0 {
		return 0
	}
	return p.pictures[len(p.pictures)-1].au.PTS - p.pictures[0].au.PTS
}
