package h264

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

// Bounds of what is read from a byte stream.
const (
	// MaxAccessUnitSize is the largest access unit taken, in bytes. Level
	// 5.2 allows 6.5 MB for an IDR (table A-1, MinCR 2).
	MaxAccessUnitSize = 8 << 20
	// maxNALUs is the largest number of NAL units in one access unit.
	maxNALUs = 16 << 10
)

// ErrTooLarge is returned for an access unit beyond [MaxAccessUnitSize], or of
// more than 16384 NAL units.
var ErrTooLarge = errors.New("access unit too large")

// SplitAnnexB appends the NAL units of a byte stream (H.264 annex B) to nalus
// and returns it. They share memory with stream, carry neither start codes nor
// trailing zero bytes, and are never empty. Bytes before the first start code
// are skipped. Too many are an ErrTooLarge.
func SplitAnnexB(nalus [][]byte, stream []byte) ([][]byte, error) {
	start := -1 // of the NAL unit, -1 before the first start code
	for at := 0; at < len(stream); {
		// A start code ends in a byte of 1: looking for that one is what
		// the standard library does fastest.
		i := bytes.IndexByte(stream[at:], 1)
		if i < 0 {
			break
		}
		i += at
		at = i + 1
		if i < 2 || stream[i-1] != 0 || stream[i-2] != 0 {
			continue
		}
		var err error
		if start >= 0 {
			if nalus, err = appendNALU(nalus, stream[start:i-2]); err != nil {
				return nalus, err
			}
		}
		start = i + 1
	}
	if start < 0 {
		return nalus, nil
	}
	return appendNALU(nalus, stream[start:])
}

func appendNALU(nalus [][]byte, nalu []byte) ([][]byte, error) {
	// A NAL unit never ends in a zero byte (section 7.4.1): those belong to
	// the next start code or are padding.
	nalu = bytes.TrimRight(nalu, "\x00")
	if len(nalu) == 0 {
		return nalus, nil
	}
	if len(nalus) == maxNALUs {
		return nalus, fmt.Errorf("%w: more than %d NAL units", ErrTooLarge, maxNALUs)
	}
	return append(nalus, nalu[:len(nalu):len(nalu)]), nil
}

// AppendAnnexB appends NAL units to dst, each with a start code of 4 bytes.
func AppendAnnexB(dst []byte, nalus [][]byte) []byte {
	for _, nalu := range nalus {
		dst = append(dst, 0, 0, 0, 1)
		dst = append(dst, nalu...)
	}
	return dst
}

// Reader cuts a byte stream (H.264 annex B), such as a .264 file, into access
// units. It holds at most one access unit and one NAL unit in memory.
type Reader struct {
	in      *bufio.Reader
	next    []byte // the NAL unit that begins the next access unit
	started bool   // the first start code has been read
	done    error
	sets    parameterSets
}

// NewReader returns a Reader of in.
func NewReader(in io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(in, 64<<10)}
}

// Next returns the NAL units of the next access unit: those up to the next
// access unit delimiter, parameter set or SEI behind a slice, or the first
// slice of another picture (sections 7.4.1.2.3 and 7.4.1.2.4). The error is
// io.EOF at the end, ErrTooLarge, or what the underlying reader returned.
func (r *Reader) Next() ([][]byte, error) {
	var unit [][]byte
	var first slice // of the picture
	var havePicture bool
	size := 0
	for {
		nalu, err := r.take()
		if errors.Is(err, io.EOF) && len(unit) > 0 {
			return unit, nil
		}
		if err != nil {
			return nil, err
		}
		begins := false
		switch t := TypeOf(nalu); {
		case t == NALUSlice || t == NALUIDR || t == naluPartitionA:
			var s slice
			if s.parse(nalu, &r.sets) != nil {
				break // the Assembler will say what is wrong with it
			}
			begins = havePicture && s.startsPicture(&first)
			if !begins && !havePicture {
				first, havePicture = s, true
			}
		case t == NALUSPS || t == NALUPPS:
			begins = havePicture
			if !begins {
				_ = r.sets.add(nalu) // likewise
			}
		case t >= NALUSEI && t <= NALUAUD || t >= 14 && t <= 18:
			begins = havePicture
		}
		if begins {
			r.next = nalu
			return unit, nil
		}
		size += len(nalu)
		if size > MaxAccessUnitSize || len(unit) == maxNALUs {
			return nil, ErrTooLarge
		}
		unit = append(unit, nalu)
	}
}

// take returns the next NAL unit in memory of its own.
func (r *Reader) take() ([]byte, error) {
	if nalu := r.next; nalu != nil {
		r.next = nil
		return nalu, nil
	}
	for r.done == nil {
		nalu, err := r.readNALU()
		r.done = err
		if nalu = bytes.TrimRight(nalu, "\x00"); len(nalu) > 0 {
			return nalu, nil
		}
	}
	return nil, r.done
}

// readNALU reads up to and including the next start code, and returns what is
// before it. What is before the first one is dropped.
func (r *Reader) readNALU() ([]byte, error) {
	var nalu []byte
	for {
		chunk, err := r.in.ReadSlice(1)
		if r.started {
			nalu = append(nalu, chunk...)
		} else {
			nalu = append(nalu[max(0, len(nalu)-2):], chunk...)
		}
		if len(nalu) > MaxAccessUnitSize {
			return nil, ErrTooLarge
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			if !r.started {
				nalu = nil
			}
			return nalu, err
		case bytes.HasSuffix(nalu, []byte{0, 0, 1}):
			if r.started {
				return nalu[:len(nalu)-3], nil
			}
			r.started = true
			nalu = nil
		}
	}
}

// ReadAll returns all pictures of a byte stream (H.264 annex B) that can be
// shown live, as an [Assembler] lets them through. Their times are zero: the
// stream has none. The error is the first of the Reader's, or an
// [UnsupportedError].
func ReadAll(in io.Reader) ([]*AccessUnit, error) {
	r := NewReader(in)
	var a Assembler
	var all []*AccessUnit
	for {
		nalus, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		au, err := a.Assemble(nalus, 0, time.Time{})
		if _, refused := errors.AsType[*UnsupportedError](err); refused {
			return all, err
		}
		if err == nil { // else it waits for an IDR
			all = append(all, au)
		}
	}
}
