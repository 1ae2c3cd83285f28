package fmp4

import (
	"fmt"
	"io"
	"time"

	"github.com/lenscast/lenscast/capture/aac"
	"github.com/lenscast/lenscast/capture/h264"
)

// maxIndex bounds the index that is read into memory, in bytes: 1.7 million
// keyframes.
const maxIndex = 32 << 20

// ReadIndex returns the keyframes of a finished file of the given size, and
// where the last part ends.
func ReadIndex(f io.ReaderAt, size int64) (keyframes []Keyframe, end int64, err error) {
	var mfro [mfroSize]byte
	if _, err := f.ReadAt(mfro[:], size-mfroSize); err != nil {
		return nil, 0, fmt.Errorf("read MP4 index: %w", err)
	}
	n := int64(be.Uint32(mfro[12:]))
	if string(mfro[4:8]) != "mfro" || n < boxHeader+tfraFixed+mfroSize || n > min(size, maxIndex) {
		return nil, 0, fmt.Errorf("read MP4 index: %w: the file has none", ErrTorn)
	}
	mfra := make([]byte, n)
	if _, err := f.ReadAt(mfra, size-n); err != nil {
		return nil, 0, fmt.Errorf("read MP4 index: %w", err)
	}
	end = size - n
	entries := mfra[boxHeader+tfraFixed : n-mfroSize]
	if string(mfra[4:8]) != "mfra" || string(mfra[12:16]) != "tfra" || len(entries)%tfraEntry != 0 {
		return nil, 0, fmt.Errorf("read MP4 index: %w: not of this program", ErrTorn)
	}
	keyframes = make([]Keyframe, 0, len(entries)/tfraEntry)
	for ; len(entries) > 0; entries = entries[tfraEntry:] {
		keyframes = append(keyframes, Keyframe{
			Time: int64(be.Uint64(entries)), Offset: int64(be.Uint64(entries[8:])),
		})
	}
	return keyframes, end, nil
}

// NewPlayer returns the file as a browser wants to have it: the same header
// and parts, with an index (sidx) between them. Without it, a browser reads a
// fragmented file from front to end before it shows its length or seeks.
//
// end is where the last part ends, duration that of all parts. The keyframes
// are those of ReadIndex.
func NewPlayer(f io.ReaderAt, keyframes []Keyframe, end int64, duration time.Duration) (*io.SectionReader, error) {
	if len(keyframes) == 0 || keyframes[0].Offset < boxHeader || keyframes[0].Offset > maxHeader+Block {
		return nil, fmt.Errorf("play MP4: %w: no keyframe at its start", ErrTorn)
	}
	header := keyframes[0].Offset
	front := make([]byte, header)
	if _, err := f.ReadAt(front, 0); err != nil {
		return nil, fmt.Errorf("play MP4: %w", err)
	}
	front, err := appendSegmentIndex(front, keyframes, end, Ticks(duration))
	if err != nil {
		return nil, err
	}
	r := &joined{front: front, f: f, shift: int64(len(front)) - header}
	return io.NewSectionReader(r, 0, end+r.shift), nil
}

// joined reads front, and then the file, shifted.
type joined struct {
	front []byte
	f     io.ReaderAt
	shift int64
}

func (j *joined) ReadAt(p []byte, off int64) (n int, err error) {
	if off < int64(len(j.front)) {
		n = copy(p, j.front[off:])
	}
	if n < len(p) {
		var more int
		more, err = j.f.ReadAt(p[n:], off+int64(n)-j.shift)
		n += more
	}
	return n, err
}

// Still returns a file of its own with nothing but the first picture of r: an
// IDR, which any browser shows in a video element. It has no sound.
func Still(r io.Reader) ([]byte, error) {
	rd, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	p, err := rd.Next()
	if err != nil {
		return nil, fmt.Errorf("read first picture: %w", err)
	}
	samples, err := p.Samples()
	if err != nil {
		return nil, err
	}
	if len(samples) == 0 {
		return nil, fmt.Errorf("read first picture: %w: there is none", ErrTorn)
	}
	first := samples[0]
	first.Duration = Timescale
	sps, pps := (&h264.AccessUnit{NALUs: first.NALUs}).ParameterSets()
	if len(sps) == 0 || len(pps) == 0 {
		return nil, fmt.Errorf("read first picture: %w: it is no IDR", ErrTorn)
	}
	header, err := Header(sps[0], pps[0], aac.Config{}, nil)
	if err != nil {
		return nil, err
	}
	return AppendPart(header, 1, 0, []Sample{first}, Audio{})
}
