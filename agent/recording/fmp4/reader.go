package fmp4

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// ErrTorn is the error of a file that ends, or turns into something else, in
// the middle of its header or of a part.
var ErrTorn = errors.New("incomplete MP4 part")

// maxHeader bounds the boxes in front, in bytes; maxMoof those of a part:
// 80000 pictures.
const (
	maxHeader = 64 << 10
	maxMoof   = 1 << 20
)

// Part is one part of a file, as it was read. Its bytes are valid until the
// next call of Reader.Next.
type Part struct {
	Number   uint32
	Base     int64  // of the pictures, ticks since the start of the file
	Duration int64  // of the pictures, ticks
	Pictures int    // 0: all of it is sound
	Frames   int    // of sound
	Key      bool   // it begins with an IDR
	Whole    bool   // its checksum is right
	Raw      []byte // the part as it is in the file, padding included

	trun, data []byte // of Raw: the pictures' entries and the content of mdat
}

// Reader reads a file that this package wrote, from front to end.
type Reader struct {
	r      *bufio.Reader
	header []byte
	note   []byte
	buf    []byte
}

// NewReader reads the header of a file. The error wraps ErrTorn when there is
// no whole one.
func NewReader(r io.Reader) (*Reader, error) {
	rd := &Reader{r: bufio.NewReaderSize(r, 256<<10)}
	for _, kind := range []string{"ftyp", "moov", "free"} {
		if err := rd.box(kind, boxHeader, maxHeader); err != nil {
			return nil, err
		}
	}
	rd.header = rd.buf
	rd.buf = nil
	rd.note = findNote(rd.header)
	return rd, nil
}

// findNote returns the note of a header, the last box of which is free.
func findNote(header []byte) []byte {
	for off := 0; off+boxHeader <= len(header); off += int(be.Uint32(header[off:])) {
		if string(header[off+4:off+8]) != "free" {
			continue
		}
		b := header[off+boxHeader:]
		if len(b) >= 8 && string(b[:4]) == noteMagic {
			if n := be.Uint32(b[4:]); n <= maxNote && int(n) <= len(b)-8 {
				return b[8 : 8+n]
			}
		}
		break
	}
	return nil
}

// Header returns the bytes before the first part.
func (r *Reader) Header() []byte { return r.header }

// Note returns the note that was given to Header, empty when there is none.
func (r *Reader) Note() []byte { return r.note }

// Next returns the next part. The error is io.EOF after the last one, and
// wraps ErrTorn where what follows is not a part.
func (r *Reader) Next() (Part, error) {
	kind, err := r.r.Peek(boxHeader)
	if len(kind) == 0 && errors.Is(err, io.EOF) || len(kind) == boxHeader && string(kind[4:]) == "mfra" {
		return Part{}, io.EOF
	}
	r.buf = r.buf[:0]
	if err := r.box("moof", moofFixed+trafFixed, maxMoof); err != nil {
		return Part{}, err
	}
	moof := len(r.buf)
	if err := r.box("mdat", boxHeader, boxHeader+MaxPart); err != nil {
		return Part{}, err
	}
	data := len(r.buf)
	if err := r.box("free", checksumBox, Block+checksumBox); err != nil {
		return Part{}, err
	}
	p := Part{Raw: r.buf, data: r.buf[moof+boxHeader : data]}
	if err := p.parse(r.buf[:moof]); err != nil {
		return Part{}, err
	}
	free := r.buf[data+boxHeader:]
	p.Whole = string(free[:4]) == checksumMagic &&
		be.Uint32(free[4:]) == crc32.Checksum(r.buf[:data], castagnoli)
	return p, nil
}

// box appends the next box to r.buf.
func (r *Reader) box(kind string, least, most int) error {
	head, err := r.r.Peek(boxHeader)
	if err != nil {
		return torn(kind, err)
	}
	size := int(be.Uint32(head))
	if string(head[4:]) != kind || size < least || size > most {
		return fmt.Errorf("read %s box: %w: found %q of %d bytes", kind, ErrTorn, head[4:], size)
	}
	// Not before the bytes are there is the memory for them: a size that
	// lies costs nothing.
	for size > 0 {
		n := min(size, 64<<10)
		at := len(r.buf)
		r.buf = append(r.buf, make([]byte, n)...)
		if _, err := io.ReadFull(r.r, r.buf[at:]); err != nil {
			return torn(kind, err)
		}
		size -= n
	}
	return nil
}

func torn(kind string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read %s box: %w: the file ends", kind, ErrTorn)
	}
	return fmt.Errorf("read %s box: %w", kind, err)
}

// parse reads the boxes of AppendPart, and no others.
func (p *Part) parse(moof []byte) error {
	mfhd, rest := moof[8:moofFixed], moof[moofFixed:]
	if err := checkBox(mfhd, "mfhd", 16); err != nil {
		return err
	}
	p.Number = be.Uint32(mfhd[12:])
	size := int64(0)
	for track := uint32(0); len(rest) > 0; {
		t, err := parseTraf(rest)
		if err != nil {
			return err
		}
		if t.track <= track {
			return fmt.Errorf("read tfhd box: %w: track %d after %d", ErrTorn, t.track, track)
		}
		track, rest = t.track, rest[t.size:]
		if track == videoTrack {
			p.Base, p.Duration, p.Pictures, p.trun = t.base, t.duration, t.samples, t.trun
			p.Key = be.Uint32(p.trun[8:]) == flagsKey
		} else {
			p.Frames = t.samples
		}
		size += t.bytes
	}
	if size != int64(len(p.data)) {
		return fmt.Errorf("read trun box: %w: %d bytes of samples, mdat has %d", ErrTorn, size, len(p.data))
	}
	return nil
}

// traf is what a part says of one track.
type traf struct {
	size     int // of the box
	track    uint32
	base     int64 // ticks
	samples  int
	duration int64  // of all samples, ticks
	bytes    int64  // of all samples
	trun     []byte // an entry for each
}

// parseTraf reads the traf box that b begins with.
func parseTraf(b []byte) (t traf, err error) {
	if len(b) < trafFixed {
		return t, fmt.Errorf("read moof box: %w: %d bytes too many", ErrTorn, len(b))
	}
	if t.size = int(be.Uint32(b)); t.size < trafFixed || t.size > len(b) {
		return t, fmt.Errorf("read traf box: %w: %d bytes", ErrTorn, t.size)
	}
	tfhd, tfdt, trun := b[8:24], b[24:44], b[44:t.size]
	for _, err := range []error{
		checkBox(b, "traf", t.size), checkBox(tfhd, "tfhd", tfhdSize),
		checkBox(tfdt, "tfdt", tfdtSize), checkBox(trun, "trun", len(trun)),
	} {
		if err != nil {
			return t, err
		}
	}
	t.track = be.Uint32(tfhd[12:])
	flags, entry := uint32(flagsVideo), trunVideo
	if t.track == audioTrack {
		flags, entry = flagsAudio, trunAudio
	} else if t.track != videoTrack {
		return t, fmt.Errorf("read tfhd box: %w: track %d", ErrTorn, t.track)
	}
	t.base, t.trun = int64(be.Uint64(tfdt[12:])), trun[trunFixed:]
	t.samples = len(t.trun) / entry
	if be.Uint32(trun[8:]) != flags || len(t.trun)%entry != 0 || t.samples == 0 ||
		be.Uint32(trun[12:]) != uint32(t.samples) || t.base < 0 {
		return t, fmt.Errorf("read trun box: %w: %d samples in %d bytes", ErrTorn, be.Uint32(trun[12:]), len(trun))
	}
	for i := 0; i < len(t.trun); i += entry {
		t.duration += int64(be.Uint32(t.trun[i:]))
		t.bytes += int64(be.Uint32(t.trun[i+4:]))
	}
	return t, nil
}

func checkBox(b []byte, kind string, size int) error {
	if string(b[4:8]) != kind || int(be.Uint32(b)) != size {
		return fmt.Errorf("read moof box: %w: no %s box of %d bytes", ErrTorn, kind, size)
	}
	return nil
}

// Samples returns the pictures of the part. Their NAL units are slices of Raw.
func (p *Part) Samples() ([]Sample, error) {
	samples := make([]Sample, 0, p.Pictures)
	data := p.data
	for i := 0; i < len(p.trun); i += trunVideo {
		s := Sample{Duration: be.Uint32(p.trun[i:]), Key: be.Uint32(p.trun[i+8:]) == flagsKey}
		size := be.Uint32(p.trun[i+4:])
		if int64(size) > int64(len(data)) {
			return nil, fmt.Errorf("read picture: %w: %d bytes of %d", ErrTorn, size, len(data))
		}
		picture := data[:size]
		data = data[size:]
		for len(picture) > 0 {
			if len(picture) < 4 || int64(be.Uint32(picture)) > int64(len(picture)-4) {
				return nil, fmt.Errorf("read NAL unit: %w: longer than its picture", ErrTorn)
			}
			n := int(be.Uint32(picture)) + 4
			s.NALUs = append(s.NALUs, picture[4:n:n])
			picture = picture[n:]
		}
		samples = append(samples, s)
	}
	return samples, nil
}
