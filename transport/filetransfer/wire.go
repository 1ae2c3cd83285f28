package filetransfer

import (
	"bufio"
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

// frameReader takes frames off a connection.
type frameReader struct {
	r   *bufio.Reader
	buf []byte // a message
	// data lends a buffer for the payload of a DATA frame of n bytes.
	data func(n int) []byte
}

// newFrameReader reads from r, which sets the deadlines.
func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{
		r: bufio.NewReaderSize(r, maxMessage), buf: make([]byte, maxMessage),
		data: func(n int) []byte { return make([]byte, n) },
	}
}

// next returns the next frame. The payload of a message is valid until the next
// call, that of DATA lies in a buffer from data. The error is io.EOF when the
// other side ended between two frames, and an [*Error] when it breaks the rules.
func (f *frameReader) next() (frameType, []byte, error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(f.r, header[:]); err != nil {
		return 0, nil, err
	}
	word := binary.BigEndian.Uint32(header[:])
	t, length := frameType(word>>24), int(word&0xffffff)
	limit, buf := maxMessage, f.buf
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
	if t == frameData {
		buf = f.data(length)
	}
	payload := buf[:length]
	if _, err := io.ReadFull(f.r, payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	sum := checksum(header[:4], payload)
	if want := binary.BigEndian.Uint32(header[4:]); sum != want {
		return 0, nil, errorf(CodeCorrupt, "%v frame has the CRC-32C %08x, not %08x", t, sum, want)
	}
	return t, payload, nil
}

// frameWriter puts frames on a connection, each in one Write, from any
// goroutine.
type frameWriter struct {
	conn    net.Conn
	timeout time.Duration // for one frame
	// turn holds who writes. It is a channel because testing/synctest lets
	// no time pass, and so no write time out, while somebody waits for a mutex.
	turn chan struct{}
}

func newFrameWriter(conn net.Conn, timeout time.Duration) *frameWriter {
	return &frameWriter{conn: conn, timeout: timeout, turn: make(chan struct{}, 1)}
}

// message sends m as a frame of type t.
func (w *frameWriter) message(t frameType, m any) error {
	frame, err := encodeMessage(make([]byte, headerBytes, 512), m)
	if err != nil {
		return err
	}
	return w.frame(t, frame)
}

// frame sends a frame whose payload begins at headerBytes.
func (w *frameWriter) frame(t frameType, frame []byte) error {
	putHeader(frame, t)
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return err
	}
	_, err := w.conn.Write(frame)
	return err
}
