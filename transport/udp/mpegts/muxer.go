// Package mpegts writes H.264 as an MPEG transport stream (ISO/IEC 13818-1)
// with one program, for live senders.
//
// A [Muxer] appends whole transport packets to a buffer of the caller: it has
// no clock, no goroutine and no buffer of its own, and allocates nothing for a
// picture. When pictures come slowly the caller asks for packets that carry
// nothing but the program clock, see [MaxPCRInterval].
package mpegts

import (
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

// PacketSize is the size of a transport packet in bytes.
const PacketSize = 188

// MaxPCRInterval is the longest time between two program clock references
// that all receivers like: ISO/IEC 13818-1 section 2.7.2 allows 100 ms, DVB
// receivers and analysers ask for 40 ms (ETSI TR 101 290 section 5.2.2).
const MaxPCRInterval = 40 * time.Millisecond

// Delay is how far the program clock runs behind the presentation times: the
// time that a receiver grants a picture for its way through pacing, network
// and decoder. What a player buffers comes on top.
const Delay = 100 * time.Millisecond

const (
	pidPAT   = 0x0000
	pidPMT   = 0x1000
	pidVideo = 0x0100

	// tableInterval is the longest time between two sets of tables. They
	// also precede every IDR, since that is where a receiver starts.
	tableInterval = 500 * time.Millisecond

	// firstPTS keeps the program clock positive at the first picture.
	firstPTS = time.Second

	// A gap in time of more than this, or a step backwards, is a new time
	// base (ISO/IEC 13818-1 section 2.4.3.5, discontinuity_indicator).
	maxGap = 10 * time.Second
)

// Muxer holds the state of one transport stream. It is for one goroutine.
type Muxer struct {
	pat, pmt [PacketSize]byte

	patCounter, pmtCounter, videoCounter uint8

	started   bool
	origin    time.Duration // subtracted from all presentation times
	lastPTS   time.Duration // since origin
	lastPCR   int64         // in units of 27 MHz
	lastTable time.Duration // since origin
}

// NewMuxer makes a Muxer for one stream.
func NewMuxer() *Muxer {
	m := &Muxer{}
	writeSection(&m.pat, pidPAT, []byte{
		0x00,     // table_id: program_association_section
		0xb0, 13, // section_syntax_indicator, section_length
		0x00, 0x01, // transport_stream_id
		0xc1, 0, 0, // version 0, current, section 0 of 0
		0x00, 0x01, // program_number
		0xe0 | pidPMT>>8, pidPMT & 0xff,
	})
	writeSection(&m.pmt, pidPMT, []byte{
		0x02,     // table_id: TS_program_map_section
		0xb0, 18, // section_syntax_indicator, section_length
		0x00, 0x01, // program_number
		0xc1, 0, 0, // version 0, current, section 0 of 0
		0xe0 | pidVideo>>8, pidVideo & 0xff, // PCR_PID
		0xf0, 0, // program_info_length
		0x1b, // stream_type: AVC video (table 2-34)
		0xe0 | pidVideo>>8, pidVideo & 0xff,
		0xf0, 0, // ES_info_length
	})
	return m
}

// AppendPicture appends a picture with presentation time pts: before an IDR
// the tables, then one PES packet that begins with the program clock. pts
// must grow from picture to picture; where it does not, or leaps, the stream
// is marked as discontinuous.
func (m *Muxer) AppendPicture(dst []byte, au *h264.AccessUnit, pts time.Duration) []byte {
	discontinuity := false
	t := pts - m.origin
	if !m.started || t <= m.lastPTS || t > m.lastPTS+maxGap {
		discontinuity, m.started = m.started, true
		m.origin = pts - firstPTS
		t = firstPTS
		m.lastPCR, m.lastTable = -1, t-tableInterval
	}
	m.lastPTS = t

	if au.Key || t-m.lastTable >= tableInterval {
		m.lastTable = t
		dst = appendTable(dst, &m.pat, &m.patCounter)
		dst = appendTable(dst, &m.pmt, &m.pmtCounter)
	}
	m.lastPCR = max(ticks27(t-Delay), m.lastPCR+1)
	return m.appendPES(dst, au, ticks90(t), discontinuity)
}

// AppendPCR appends one packet with nothing but the program clock, elapsed
// after the last one. Before the first picture it appends nothing.
func (m *Muxer) AppendPCR(dst []byte, elapsed time.Duration) []byte {
	if !m.started {
		return dst
	}
	m.lastPCR += max(ticks27(elapsed), 1)
	n := len(dst)
	dst = append(dst, make([]byte, PacketSize)...)
	p := dst[n:]
	// Adaptation field only: the continuity counter stands still (section
	// 2.4.3.3).
	p[0], p[1], p[2], p[3] = syncByte, pidVideo>>8, pidVideo&0xff, 0x20|(m.videoCounter-1)&0x0f
	p[4], p[5] = PacketSize-5, flagPCR
	putPCR(p[6:12], m.lastPCR)
	stuff(p[12:])
	return dst
}

// Flags of the adaptation field (ISO/IEC 13818-1 section 2.4.3.5).
const (
	syncByte = 0x47

	flagDiscontinuity = 0x80
	flagRandomAccess  = 0x40
	flagPCR           = 0x10

	unitStart = 0x40 // payload_unit_start_indicator
)

// pesHeader is a PES packet header with a presentation time only (section
// 2.4.3.6). The length 0 is allowed for video, and needed: pictures may be
// larger than 64 KiB.
const pesHeaderSize = 14

// delimiter is an access unit delimiter with its start code: every access
// unit in a transport stream begins with one (section 2.14.1).
const delimiter = "\x00\x00\x00\x01\x09\xf0"

const startCode = "\x00\x00\x00\x01"

func (m *Muxer) appendPES(dst []byte, au *h264.AccessUnit, pts int64, discontinuity bool) []byte {
	var header [pesHeaderSize + len(delimiter)]byte
	head := header[:pesHeaderSize]
	// stream_id video 0; data_alignment_indicator; PTS only; 5 bytes follow.
	copy(head, []byte{0, 0, 1, 0xe0, 0, 0, 0x84, 0x80, 5})
	putPTS(head[9:], pts)
	size := len(head)
	for _, nalu := range au.NALUs {
		size += len(startCode) + len(nalu)
	}
	if h264.TypeOf(au.NALUs[0]) != h264.NALUAUD {
		head = append(head, delimiter...)
		size += len(delimiter)
	}

	w := packetWriter{dst: dst, left: size, counter: &m.videoCounter}
	flags := byte(flagPCR)
	if au.Key {
		flags |= flagRandomAccess
	}
	if discontinuity {
		flags |= flagDiscontinuity
	}
	w.begin(flags, m.lastPCR)
	w.write(head)
	for _, nalu := range au.NALUs {
		w.write([]byte(startCode))
		w.write(nalu)
	}
	return w.dst
}

// packetWriter cuts a PES packet of known size into transport packets.
type packetWriter struct {
	dst     []byte
	left    int // bytes of the PES packet not yet written
	room    int // bytes free in the transport packet at the end of dst
	counter *uint8
}

// begin starts the first packet: it carries the program clock.
func (w *packetWriter) begin(flags byte, pcr int64) {
	const field = 8 // bytes of an adaptation field with a clock
	size := max(field, PacketSize-4-w.left)
	w.header(unitStart, size)
	n := len(w.dst)
	w.dst = append(w.dst, byte(size-1), flags, 0, 0, 0, 0, 0, 0)
	putPCR(w.dst[n+2:], pcr)
	w.pad(size - field)
}

// next starts any other packet. The last one is filled up in front of its
// payload (section 2.4.3.5, stuffing_byte).
func (w *packetWriter) next() {
	size := max(0, PacketSize-4-w.left)
	w.header(0, size)
	switch size {
	case 0:
	case 1:
		w.dst = append(w.dst, 0)
	default:
		w.dst = append(w.dst, byte(size-1), 0)
		w.pad(size - 2)
	}
}

// header starts a packet with an adaptation field of the given size.
func (w *packetWriter) header(start byte, field int) {
	control := byte(0x10) // payload only
	if field > 0 {
		control = 0x30
	}
	w.dst = append(w.dst, syncByte, start|pidVideo>>8, pidVideo&0xff, control|*w.counter)
	*w.counter = (*w.counter + 1) & 0x0f
	w.room = PacketSize - 4 - field
}

func (w *packetWriter) write(b []byte) {
	for len(b) > 0 {
		if w.room == 0 {
			w.next()
		}
		n := min(w.room, len(b))
		w.dst = append(w.dst, b[:n]...)
		b = b[n:]
		w.room -= n
		w.left -= n
	}
}

func (w *packetWriter) pad(n int) {
	w.dst = append(w.dst, stuffing[:n]...)
}
