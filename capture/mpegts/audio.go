package mpegts

import (
	"bytes"
	"errors"
	"time"

	"github.com/lenscast/lenscast/capture/aac"
)

// sound is a frame of sound. It was presented by the sender's clock at pts,
// and since later.
type sound struct {
	frame aac.Frame // without PTS
	pts   uint64    // 33 bits of a 90 kHz clock
	since time.Duration
}

// audioBuilder makes frames of sound of the PES packets of one AAC track. A
// PES packet may hold several frames, and frames may go on in the next one
// (section 2.4.3.7); its PTS is that of the first frame that begins in it.
//
// What is missing or damaged costs the frames that it touches. It holds at most
// one frame and one transport packet.
type audioBuilder struct {
	emit   func(sound)
	refuse func(reason string)

	counter  uint8
	counting bool // counter is that of the packet before
	open     bool // a PES packet has begun
	left     int  // bytes of it to come, -1 when that is not said

	buf    []byte // begins with a frame, if in sync
	inSync bool

	mark   int    // where in buf the newest PES packet with a PTS begins
	marked bool   // no frame has begun behind mark yet
	next   uint64 // that PTS

	timed bool   // pts and since are known
	pts   uint64 // the last one that was used
	since time.Duration
}

// reset drops what was collected, because something is missing or changed.
func (a *audioBuilder) reset() {
	a.counting, a.open = false, false
	a.buf, a.inSync, a.marked, a.timed = a.buf[:0], false, false, false
}

// add takes the next packet of the track.
func (a *audioBuilder) add(p packet) {
	if p.scrambled {
		a.reset()
		return
	}
	if a.counting && p.counter != (a.counter+1)&0x0f {
		if p.counter == a.counter {
			return // a duplicate, as section 2.4.3.3 allows
		}
		a.reset()
	}
	a.counter, a.counting = p.counter, true
	data := p.payload
	if p.start {
		h, err := parsePESHeader(data)
		if err != nil { // one in two packets is not worth its code
			a.reset()
			return
		}
		data, a.left, a.open = data[h.size:], h.left, true
		if h.hasPTS {
			a.mark, a.marked, a.next = len(a.buf), true, h.pts
		}
	}
	if !a.open {
		return
	}
	if a.left >= 0 {
		data = data[:min(len(data), a.left)]
		a.left -= len(data)
	}
	a.buf = append(a.buf, data...)
	a.take()
}

// take hands over the frames that are complete.
func (a *audioBuilder) take() {
	done := 0
	for {
		b := a.buf[done:]
		if len(b) < aac.HeaderSize {
			break
		}
		h, err := aac.ParseHeader(b)
		if errors.Is(err, aac.ErrHeader) {
			done += a.skip(b)
			continue
		}
		// Twelve bits look like a header now and then. Where none is due, the
		// next frame's must confirm it.
		due := a.inSync || a.marked && done == a.mark
		need := h.Frame
		if !due {
			need += aac.HeaderSize
		}
		if len(b) < need {
			break
		}
		if !due {
			if next, err := aac.ParseHeader(b[h.Frame:]); err != nil || next.Config != h.Config {
				done += a.skip(b)
				continue
			}
		}
		a.inSync = true
		if a.marked && done >= a.mark {
			a.pts, a.since, a.timed, a.marked = a.next, 0, true, false
		}
		switch {
		case err != nil:
			a.timed = false
			a.refuse("sound left out: it is " + err.Error())
		case a.timed:
			data := bytes.Clone(b[h.Size:h.Frame])
			a.emit(sound{frame: aac.Frame{Config: h.Config, Data: data}, pts: a.pts, since: a.since})
			a.since += h.Time(aac.SamplesPerFrame)
		}
		done += h.Frame
	}
	a.buf = a.buf[:copy(a.buf, a.buf[done:])]
	a.mark -= done
}

// skip returns how many bytes at the start of b, which no frame begins with,
// are not worth a look. When frames have been left out, the time is not known
// up to the next PTS.
func (a *audioBuilder) skip(b []byte) int {
	a.inSync, a.timed = false, false
	if n := bytes.IndexByte(b[1:], 0xff); n >= 0 {
		return 1 + n
	}
	return len(b)
}
