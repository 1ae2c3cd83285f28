package filetransfer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"time"
)

// preamble opens every version 2 connection. No legacy file name begins with
// NUL, and no TLS record with NUL either.
const preamble = "\x00LFT2"

// A frame is
//
//	 0               1               2               3
//	+---------------+-----------------------------------------------+
//	| type          | length of the payload in bytes, big endian    |
//	+---------------+-----------------------------------------------+
//	| CRC-32C of the first four bytes and the payload, big endian   |
//	+---------------------------------------------------------------+
//	| payload …                                                     |
const (
	headerBytes = 8

	// maxMessage bounds the payload of every frame but DATA.
	maxMessage = 4 << 10
	// maxData bounds the payload of a DATA frame, and so the memory that a
	// peer can make this side use.
	maxData = 256 << 10
	// dataBytes is the most that this package puts into a DATA frame: enough
	// to make the cost of a frame vanish. With little memory it is less.
	dataBytes = 128 << 10
	// earlyBytes is the largest file whose content a receiver takes before
	// its OFFER has been read.
	earlyBytes = maxData
)

type frameType byte

const (
	frameHello frameType = 'H'
	frameOffer frameType = 'O'
	frameData  frameType = 'D'
	frameAck   frameType = 'A'
	frameEnd   frameType = 'E'
	frameDone  frameType = 'F'
	frameError frameType = 'X'
)

func (t frameType) String() string {
	switch t {
	case frameHello:
		return "HELLO"
	case frameOffer:
		return "OFFER"
	case frameData:
		return "DATA"
	case frameAck:
		return "ACK"
	case frameEnd:
		return "END"
	case frameDone:
		return "DONE"
	case frameError:
		return "ERROR"
	default:
		return fmt.Sprintf("type %#02x", byte(t))
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum returns the CRC-32C of the parts one after the other.
func checksum(parts ...[]byte) uint32 {
	var sum uint32
	for _, p := range parts {
		sum = crc32.Update(sum, castagnoli, p)
	}
	return sum
}

// putHeader fills in the first headerBytes of frame, whose payload follows
// them already.
func putHeader(frame []byte, t frameType) {
	payload := frame[headerBytes:]
	binary.BigEndian.PutUint32(frame, uint32(t)<<24|uint32(len(payload)))
	binary.BigEndian.PutUint32(frame[4:], checksum(frame[:4], payload))
}

// frameReader takes frames off a connection. It reads a little ahead, so that
// frames which follow each other take one Read each.
type frameReader struct {
	r     io.Reader
	buf   []byte // a message
	ahead []byte // read and not taken; in buf
	// data lends a buffer of n bytes or more for the payload of a DATA frame.
	data func(n int) []byte
}

// newFrameReader reads from r, which sets the deadlines.
func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{
		r: r, buf: make([]byte, maxMessage),
		data: func(n int) []byte { return make([]byte, n) },
	}
}

// take returns the next n bytes, at most maxMessage. They are valid until the
// next call. The error is io.EOF when there is none of them.
func (f *frameReader) take(n int) ([]byte, error) {
	if have := len(f.ahead); have < n {
		copy(f.buf, f.ahead)
		more, err := io.ReadAtLeast(f.r, f.buf[have:], n-have)
		f.ahead = f.buf[:have+more]
		if err != nil {
			if have > 0 {
				err = cutShort(err)
			}
			return nil, err
		}
	}
	taken := f.ahead[:n]
	f.ahead = f.ahead[n:]
	return taken, nil
}

// content returns the next n bytes in a buffer from data.
func (f *frameReader) content(n int) ([]byte, error) {
	buf := f.data(n + headerBytes) // the last of it for the next header
	have := copy(buf[:n], f.ahead)
	f.ahead = f.ahead[have:]
	if have < n {
		more, err := io.ReadAtLeast(f.r, buf[have:min(len(buf), n+len(f.buf))], n-have)
		if err != nil {
			return nil, cutShort(err)
		}
		f.ahead = f.buf[:copy(f.buf, buf[n:have+more])]
	}
	return buf[:n], nil
}

// cutShort is the error of a read that ended within a frame.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// next returns the next frame. The payload of a message is valid until the next
// call, that of DATA lies in a buffer from data. The error is io.EOF when the
// other side ended between two frames, and an [*Error] when it breaks the rules.
func (f *frameReader) next() (frameType, []byte, error) {
	raw, err := f.take(headerBytes)
	if err != nil {
		return 0, nil, err
	}
	header := [headerBytes]byte(raw)
	word := binary.BigEndian.Uint32(header[:])
	t, length := frameType(word>>24), int(word&0xffffff)
	limit := maxMessage
	switch t {
	case frameData:
		limit = maxData
	case frameHello, frameOffer, frameAck, frameEnd, frameDone, frameError:
	default:
		// Damaged on the way, more likely than meant.
		return 0, nil, errorf(CodeCorrupt, "unknown frame %v", t)
	}
	if length > limit {
		return 0, nil, errorf(CodeCorrupt, "%v frame of %d bytes, %d are allowed", t, length, limit)
	}
	var payload []byte
	if t == frameData {
		payload, err = f.content(length)
	} else {
		payload, err = f.take(length)
	}
	if err != nil {
		return 0, nil, cutShort(err)
	}
	sum := checksum(header[:4], payload)
	if want := binary.BigEndian.Uint32(header[4:]); sum != want {
		return 0, nil, errorf(CodeCorrupt, "%v frame has the CRC-32C %08x, not %08x", t, sum, want)
	}
	return t, payload, nil
}

// appendMessage appends m as a frame of type t.
func appendMessage(to []byte, t frameType, m any) ([]byte, error) {
	begin := len(to)
	to, err := encodeMessage(append(to, make([]byte, headerBytes)...), m)
	if err != nil {
		return nil, err
	}
	putHeader(to[begin:], t)
	return to, nil
}

// frameWriter puts frames on a connection, from any goroutine.
type frameWriter struct {
	conn    net.Conn
	timeout time.Duration // for one Write
	// turn holds who writes. It is a channel because testing/synctest lets
	// no time pass, and so no write time out, while somebody waits for a mutex.
	turn chan struct{}
	held []byte // messages that go with the next one; of who has the turn

	// cork holds back what does not fill a segment, until it is called with
	// false; nil: not needed, everything is one write of the kernel's.
	cork func(on bool)
}

func newFrameWriter(conn net.Conn, timeout time.Duration) *frameWriter {
	return &frameWriter{conn: conn, timeout: timeout, turn: make(chan struct{}, 1)}
}

// message sends m as a frame of type t.
func (w *frameWriter) message(t frameType, m any) error {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	frames, err := appendMessage(w.held, t, m)
	if err != nil {
		return err
	}
	w.held = frames[:0]
	return w.write(frames)
}

// hold sends m as a frame of type t together with the next message.
func (w *frameWriter) hold(t frameType, m any) error {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	held, err := appendMessage(w.held, t, m)
	if err == nil {
		w.held = held
	}
	return err
}

// frames sends whole frames.
func (w *frameWriter) frames(frames []byte) error {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	return w.write(frames)
}

// write is called with the turn held.
func (w *frameWriter) write(frames []byte) error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return err
	}
	if w.cork != nil {
		w.cork(true)
		defer w.cork(false)
	}
	_, err := w.conn.Write(frames)
	return err
}
