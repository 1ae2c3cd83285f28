package mpegts

import (
	"encoding/binary"
	"slices"
	"strings"
)

const (
	tablePAT = 0
	tablePMT = 2

	// maxSection is the largest PAT or PMT section (section 2.4.4.3): 3
	// bytes of header and a section_length of at most 1021.
	maxSection = 3 + 1021
	// maxPrograms bounds how many programs of a PAT are looked at.
	maxPrograms = 32
)

// section puts together the sections of one PID (section 2.4.4).
type section struct {
	buf     []byte
	counter uint8
	open    bool // a section has begun and counter is that of its newest packet
}

// add takes a packet of the PID and calls each with every section that is
// whole, current and passes its CRC. The section given has neither the header
// up to section_length nor the CRC.
func (s *section) add(p packet, each func(table byte, body []byte)) {
	if len(p.payload) == 0 {
		return
	}
	if s.open && p.counter != (s.counter+1)&0x0f {
		s.open = false
	}
	s.counter = p.counter
	data := p.payload
	if p.start {
		pointer := int(data[0])
		if data = data[1:]; pointer > len(data) {
			s.open = false
			return
		}
		if s.open {
			s.buf = append(s.buf, data[:pointer]...)
			s.take(each)
		}
		s.buf, s.open = append(s.buf[:0], data[pointer:]...), true
	} else if s.open {
		s.buf = append(s.buf, data...)
	}
	if s.open {
		s.take(each)
	}
}

// take cuts whole sections off buf. What is behind the last one is stuffing.
func (s *section) take(each func(table byte, body []byte)) {
	buf := s.buf
	for len(buf) >= 3 && buf[0] != 0xff {
		size := 3 + int(binary.BigEndian.Uint16(buf[1:])&0x0fff)
		if size > maxSection {
			break
		}
		if len(buf) < size {
			s.buf = append(s.buf[:0], buf...)
			return
		}
		b := buf[:size]
		buf = buf[size:]
		// 5 bytes of the long header and 4 of the CRC; section_syntax_indicator,
		// current_next_indicator.
		if size >= 12 && b[1]&0x80 != 0 && b[5]&1 != 0 && crc32(b) == 0 {
			each(b[0], b[3:size-4])
		}
	}
	s.open = false
}

// crc32 is that of annex A: over a whole section, its CRC included, it is 0.
func crc32(b []byte) uint32 {
	crc := uint32(0xffffffff)
	for _, v := range b {
		crc ^= uint32(v) << 24
		for range 8 {
			if crc&0x80000000 != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

// parsePAT returns the PIDs of the program map tables (section 2.4.4.3).
func parsePAT(body []byte) (pids []uint16) {
	for b := body[5:]; len(b) >= 4 && len(pids) < maxPrograms; b = b[4:] {
		program, pid := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])&0x1fff
		if program != 0 && pid != pidPAT && pid != pidNull { // 0 is the network
			pids = append(pids, pid)
		}
	}
	return pids
}

// track is an elementary stream of a program.
type track struct {
	pid  uint16
	kind byte // stream_type
}

// parsePMT returns the tracks of a program (section 2.4.4.8), nil if the table
// contradicts itself.
func parsePMT(body []byte) (tracks []track) {
	if len(body) < 9 {
		return nil
	}
	info := int(binary.BigEndian.Uint16(body[7:]) & 0x0fff)
	if 9+info > len(body) {
		return nil
	}
	for b := body[9+info:]; len(b) >= 5; {
		size := 5 + int(binary.BigEndian.Uint16(b[3:])&0x0fff)
		if size > len(b) {
			return nil
		}
		tracks = append(tracks, track{pid: binary.BigEndian.Uint16(b[1:]) & 0x1fff, kind: b[0]})
		b = b[size:]
	}
	return tracks
}

// stream_type of what is taken (table 2-34).
const (
	kindAAC  = 0x0f // with ADTS
	kindH264 = 0x1b
)

// videoName names the video that a stream_type (table 2-34) stands for, "" if
// it is none.
func videoName(kind byte) string {
	switch kind {
	case 0x01, 0x02:
		return "MPEG-2 video"
	case 0x10:
		return "MPEG-4 part 2 video"
	case 0x1b:
		return "H.264"
	case 0x21:
		return "JPEG 2000"
	case 0x24:
		return "H.265 (HEVC)"
	case 0x33:
		return "H.266 (VVC)"
	case 0xea:
		return "VC-1"
	}
	return ""
}

// audioName names the sound that a stream_type (table 2-34, ATSC A/53 part 3)
// stands for, "" if it is none.
func audioName(kind byte) string {
	switch kind {
	case 0x03, 0x04:
		return "MPEG audio"
	case kindAAC:
		return "AAC"
	case 0x11:
		return "AAC in LATM"
	case 0x81:
		return "AC-3"
	}
	return ""
}

// tables follows the PAT and the PMTs of a transport stream.
type tables struct {
	pat      section
	programs []program
	tracks   []track // of all programs, in the order of the PAT
	changes  int     // of tracks
}

type program struct {
	pid     uint16
	section section
	tracks  []track
}

// add takes a packet if it belongs to a table. It reports whether it did.
func (t *tables) add(p packet) bool {
	if p.pid == pidPAT {
		t.pat.add(p, func(table byte, body []byte) {
			if table == tablePAT {
				t.setPrograms(parsePAT(body))
			}
		})
		return true
	}
	for i := range t.programs {
		pr := &t.programs[i]
		if pr.pid != p.pid {
			continue
		}
		pr.section.add(p, func(table byte, body []byte) {
			if tracks := parsePMT(body); table == tablePMT && !slices.Equal(tracks, pr.tracks) {
				pr.tracks = tracks
				t.list()
			}
		})
		return true
	}
	return false
}

// setPrograms keeps what is known of the programs that stay.
func (t *tables) setPrograms(pids []uint16) {
	if slices.EqualFunc(t.programs, pids, func(p program, pid uint16) bool { return p.pid == pid }) {
		return
	}
	old := t.programs
	t.programs = make([]program, len(pids))
	for i, pid := range pids {
		t.programs[i].pid = pid
		if j := slices.IndexFunc(old, func(p program) bool { return p.pid == pid }); j >= 0 {
			t.programs[i] = old[j]
		}
	}
	t.list()
}

func (t *tables) list() {
	t.tracks = nil
	t.changes++
	for _, p := range t.programs {
		t.tracks = append(t.tracks, p.tracks...)
	}
}

// isH264 reports whether a track of H.264 is announced at the PID.
func (t *tables) isH264(pid uint16) bool {
	return slices.Contains(t.tracks, track{pid, kindH264})
}

func (t *tables) hasH264() bool {
	return slices.ContainsFunc(t.tracks, func(tr track) bool { return tr.kind == kindH264 })
}

// beside returns the tracks of the program that the video belongs to: those
// of others have other clocks.
func (t *tables) beside(video uint16) []track {
	for _, p := range t.programs {
		if slices.Contains(p.tracks, track{video, kindH264}) {
			return p.tracks
		}
	}
	return nil
}

// describe names the tracks for people.
func (t *tables) describe() string {
	var names []string
	for _, tr := range t.tracks {
		if name := videoName(tr.kind); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "no video"
	}
	return strings.Join(names, " and ")
}
