package mpegts

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/lenscast/lenscast/capture/h264"
)

const (
	testPMT   = 0x1000
	testVideo = 0x1011
)

// muxer writes transport streams in the manners that muxers have.
type muxer struct {
	out      []byte
	counters map[uint16]uint8

	version  byte // of the tables
	length   bool // says PES_packet_length
	padFirst bool // stuffs the first packet of each PES packet too
	split    int  // bytes of an access unit in one PES packet, 0: all
}

func (m *muxer) packet(pid uint16, start bool, field, payload []byte) {
	if m.counters == nil {
		m.counters = make(map[uint16]uint8)
	}
	room := packetSize - 4 - len(payload)
	p := []byte{syncByte, byte(pid >> 8), byte(pid), 0x10 | m.counters[pid]}
	m.counters[pid] = (m.counters[pid] + 1) & 0x0f
	if start {
		p[1] |= 0x40
	}
	if room > 0 {
		p[3] |= 0x20
		p = append(p, byte(room-1))
		if room > 1 {
			if field == nil {
				field = []byte{0}
			}
			p = append(p, field...)
			p = append(p, bytes.Repeat([]byte{0xff}, room-1-len(field))...)
		}
	}
	m.out = append(append(m.out, p...), payload...)
}

func (m *muxer) section(pid uint16, table byte, body []byte) {
	b := []byte{table, 0xb0, 0, 0, 1, 0xc1 | m.version<<1, 0, 0}
	b = append(b, body...)
	binary.BigEndian.PutUint16(b[1:], 0xb000|uint16(len(b)+4-3))
	b = binary.BigEndian.AppendUint32(b, crc32(b))
	b = append([]byte{0}, b...) // pointer_field
	for start := true; len(b) > 0; start = false {
		n := min(len(b), 184)
		m.packet(pid, start, nil, b[:n])
		b = b[n:]
	}
}

func (m *muxer) tables(tracks ...track) {
	m.section(pidPAT, tablePAT, []byte{0, 0, 0xe0, 0x10, 0, 1, 0xe0 | testPMT>>8, testPMT & 0xff})
	body := []byte{0xe0, 0, 0xf0, 0}
	for _, t := range tracks {
		body = append(body, t.kind, 0xe0|byte(t.pid>>8), byte(t.pid), 0xf0, 3, 0x0a, 1, 'x')
	}
	m.section(testPMT, tablePMT, body)
}

func (m *muxer) picture(pid uint16, pts uint64, es []byte) {
	for first := true; first || len(es) > 0; first = false {
		n := len(es)
		if m.split > 0 {
			n = min(n, m.split)
		}
		var pes []byte
		if first {
			pes = []byte{
				0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5,
				0x21 | byte(pts>>29)&0x0e, byte(pts >> 22), byte(pts>>14) | 1, byte(pts >> 7), byte(pts<<1) | 1,
			}
		} else {
			pes = []byte{0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0}
		}
		if m.length {
			binary.BigEndian.PutUint16(pes[4:], uint16(len(pes)-6+n))
		}
		m.packets(pid, append(pes, es[:n]...))
		es = es[n:]
	}
}

func (m *muxer) packets(pid uint16, pes []byte) {
	pcr := []byte{0x50, 0, 0, 0, 0, 0x7e, 0} // random access, PCR
	room := 184 - 1 - len(pcr)
	if m.padFirst {
		room -= 10
	}
	n := min(len(pes), room)
	m.packet(pid, true, pcr, pes[:n])
	for pes = pes[n:]; len(pes) > 0; pes = pes[n:] {
		n = min(len(pes), 184)
		m.packet(pid, false, nil, pes[:n])
	}
}

// pictures returns the access units of a stream in capture/h264/testdata, each
// as a byte stream.
func pictures(t testing.TB, name string) [][]byte {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "h264", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var units [][]byte
	for r := h264.NewReader(f); ; {
		nalus, err := r.Next()
		if err != nil {
			return units
		}
		units = append(units, h264.AppendAnnexB(nil, nalus))
	}
}
