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
	Base     int64 // ticks since the start of the file
	Duration int64 // ticks
	Pictures int
	Key      bool   // it begins with an IDR
	Whole    bool   // its checksum is right
	Raw      []byte // the part as it is in the file, padding included

	trun, data []byte // of Raw: the samples' entries and the content of mdat
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
	if err := r.box("moof", moofFixed+tfdtSize+trunFixed, maxMoof); err != nil {
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
	mfhd, rest := moof[8:24], moof[24:]
	traf, tfhd, tfdt, trun := rest[:8], rest[8:24], rest[24:44], rest[44:]
	for _, b := range []struct {
		kind string
		size int
		box  []byte
	}{
		{"mfhd", 16, mfhd},
		{"traf", len(rest), traf},
		{"tfhd", 16, tfhd},
		{"tfdt", tfdtSize, tfdt},
		{"trun", len(trun), trun},
	} {
		if string(b.box[4:8]) != b.kind || int(be.Uint32(b.box)) != b.size {
			return fmt.Errorf("read moof box: %w: no %s box of %d bytes", ErrTorn, b.kind, b.size)
		}
	}
	p.trun = trun[trunFixed:]
	p.Pictures = len(p.trun) / trunSample
	if be.Uint32(trun[8:]) != 0x000701 || len(p.trun)%trunSample != 0 ||
		p.Pictures == 0 || be.Uint32(trun[12:]) != uint32(p.Pictures) {
		return fmt.Errorf("read trun box: %w: %d pictures in %d bytes", ErrTorn, be.Uint32(trun[12:]), len(trun))
	}
	p.Number = be.Uint32(mfhd[12:])
	p.Base = int64(be.Uint64(tfdt[12:]))
	p.Key = be.Uint32(p.trun[8:]) == flagsKey
	size := int64(0)
	for i := 0; i < len(p.trun); i += trunSample {
		p.Duration += int64(be.Uint32(p.trun[i:]))
		size += int64(be.Uint32(p.trun[i+4:]))
	}
	if size != int64(len(p.data)) || p.Base < 0 {
		return fmt.Errorf("read trun box: %w: %d bytes of pictures, mdat has %d", ErrTorn, size, len(p.data))
	}
	return nil
}

// Samples returns the pictures of the part. Their NAL units are slices of Raw.
func (p *Part) Samples() ([]Sample, error) {
	samples := make([]Sample, 0, p.Pictures)
	data := p.data
	for i := 0; i < len(p.trun); i += trunSample {
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
