package mpegts

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"
)

// demuxed is what a demuxer made of packets.
type demuxed struct {
	*demuxer
	units [][]byte
	pts   []uint64
	lost  []string
}

func demux() *demuxed {
	d := &demuxed{}
	d.demuxer = newDemuxer(func(u unit) {
		d.units = append(d.units, bytes.Clone(u.stream))
		d.pts = append(d.pts, u.pts)
	}, func(reason string) { d.lost = append(d.lost, reason) })
	return d
}

func (d *demuxed) feed(stream []byte) {
	for b := range slices.Chunk(stream, packetSize) {
		d.add(b, time.Time{})
		d.flush()
	}
}

// fits returns an access unit that fills its transport packets to the last
// byte, so that none is stuffed.
func fits(packets int) []byte {
	return bytes.Repeat([]byte{7}, 176-14+184*(packets-1))
}

func TestDemuxer(t *testing.T) {
	long := bytes.Repeat([]byte("long"), 1000)
	tests := []struct {
		name  string
		mux   muxer
		units [][]byte
		late  int // units that are handed over no earlier than the next begins
		lost  int
	}{
		{name: "stuffed last packets", units: repeat(long, 60), late: provenUnits},
		{name: "one packet each", units: repeat([]byte("short"), 60), late: provenUnits},
		{name: "nothing is ever stuffed", units: repeat(fits(3), 60), late: 60},
		{name: "some are not stuffed", units: append(repeat(long, 30), fits(2), long, fits(1), long), late: provenUnits + 2},
		{name: "lengths are said", mux: muxer{length: true}, units: append(repeat(long, 30), fits(2)), late: provenUnits},
		{name: "first packets are stuffed", mux: muxer{padFirst: true}, units: repeat(long, 60), late: 60},
		{name: "several PES packets", mux: muxer{split: 1500}, units: repeat(long, 60), late: 60},
		{name: "several PES packets with lengths", mux: muxer{split: 1500, length: true}, units: repeat(long, 60), late: 60},
		// A muxer that turns out to stuff more than last packets costs one
		// picture, and is not trusted any more.
		{name: "proof was wrong", mux: muxer{padFirst: true}, units: append(repeat([]byte("short"), 30), repeat(long, 30)...), lost: 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := demux()
			m := &test.mux
			m.tables(track{0x1100, 0x0f}, track{testVideo, kindH264}, track{0x200, 0x80})
			d.feed(m.out)
			late := 0
			for i, es := range test.units {
				m.out = m.out[:0]
				m.picture(testVideo, uint64(i)*3000, es)
				d.feed(m.out)
				if len(d.units) <= i {
					late++
				}
			}
			d.units = append(d.units, nil) // the last one may never come
			n := len(test.units) - 1
			if test.lost == 0 && !slices.EqualFunc(d.units[:n], test.units[:n], bytes.Equal) {
				t.Errorf("%d units came, and not those that were sent", len(d.units)-1)
			}
			if test.lost == 0 && late != test.late {
				t.Errorf("%d units came late, want %d", late, test.late)
			}
			if len(d.lost) != test.lost {
				t.Errorf("lost: %q", d.lost)
			}
		})
	}
}

func repeat(unit []byte, n int) (units [][]byte) {
	for range n {
		units = append(units, unit)
	}
	return units
}

func TestDemuxerTracks(t *testing.T) {
	video := []byte("video")
	send := func(m *muxer, pid uint16, n int) []byte {
		m.out = m.out[:0]
		for range n {
			m.picture(pid, 1, video)
		}
		return m.out
	}
	tablesOf := func(m *muxer, tracks ...track) []byte {
		m.out = m.out[:0]
		m.tables(tracks...)
		return m.out
	}
	d := demux()
	m := &muxer{}
	d.feed(send(m, testVideo, 3))
	if len(d.units) != 0 {
		t.Fatal("something came before the tables")
	}
	// The first H.264 track stays empty.
	d.feed(tablesOf(m, track{0x100, kindH264}, track{testVideo, kindH264}, track{0x300, kindH264}))
	d.feed(send(m, testVideo, 3))
	d.feed(send(m, 0x300, 5))
	if len(d.units) != 2 || d.video != testVideo {
		t.Fatalf("%d units of PID %#x, want 2 of %#x", len(d.units), d.video, testVideo)
	}
	// A new PMT moves the track; one with a wrong CRC does not.
	m.version++
	bad := tablesOf(m, track{0x300, kindH264})
	bad[len(bad)-1] ^= 1
	d.feed(bad)
	if d.video != testVideo {
		t.Error("a damaged table was believed")
	}
	d.feed(tablesOf(m, track{0x300, kindH264}))
	if d.video != 0 || len(d.lost) != 1 {
		t.Errorf("after its track went: PID %#x, lost %q", d.video, d.lost)
	}
	d.feed(send(m, 0x300, 2))
	if d.video != 0x300 || len(d.units) != 3 {
		t.Errorf("after the change: PID %#x, %d units", d.video, len(d.units))
	}
	// HEVC alone is no H.264.
	m.version++
	d.feed(tablesOf(m, track{0x300, 0x24}, track{0x301, 0x0f}))
	if d.tables.hasH264() || d.tables.describe() != "H.265 (HEVC)" {
		t.Errorf("described as %q", d.tables.describe())
	}
}

// TestDemuxerLossBesideVideo loses 16 packets of the picture, which its own
// counter can't show, along with some of the sound.
func TestDemuxerLossBesideVideo(t *testing.T) {
	for _, proven := range []bool{true, false} {
		m := &muxer{}
		m.tables(track{testVideo, kindH264}, track{0x1100, 0x0f})
		d := demux()
		for i := range 40 {
			m.picture(testVideo, uint64(i), make([]byte, 100))
			m.packet(0x1100, true, nil, make([]byte, 100))
			if !proven {
				m.counters[0x1100] += 3
			}
		}
		d.feed(m.out)
		if len(d.lost) != 0 {
			t.Fatalf("lost %q", d.lost)
		}
		m.out = m.out[:0]
		m.counters[0x1100]++
		m.packet(0x1100, true, nil, make([]byte, 100))
		d.feed(m.out)
		if told := len(d.lost) == 1; told != proven {
			t.Errorf("a track that counts right: %v, lost %q", proven, d.lost)
		}
	}
}

func TestDemuxerLargeTable(t *testing.T) {
	m := &muxer{}
	var tracks []track
	for i := range 100 { // a PMT of five packets
		tracks = append(tracks, track{uint16(0x400 + i), 0x06})
	}
	tracks = append(tracks, track{testVideo, kindH264})
	m.tables(tracks...)
	d := demux()
	d.feed(m.out)
	if !d.tables.isH264(testVideo) {
		t.Error("a table of several packets was not read")
	}
	d = demux()
	d.feed(slices.Delete(slices.Clone(m.out), 3*packetSize, 4*packetSize))
	if len(d.tables.tracks) != 0 {
		t.Error("a table with a hole was believed")
	}
}

func TestDemuxerLoss(t *testing.T) {
	m := &muxer{}
	m.tables(track{testVideo, kindH264})
	head := len(m.out) / packetSize
	unit := bytes.Repeat([]byte("0123456789"), 50) // 3 packets
	for i := range 40 {
		m.picture(testVideo, uint64(i), unit)
	}
	packets := slices.Collect(slices.Chunk(m.out, packetSize))
	run := func(packets [][]byte) *demuxed {
		d := demux()
		d.feed(bytes.Join(packets, nil))
		return d
	}
	flip := func(at int, mask byte) func(b []byte) []byte {
		return func(b []byte) []byte { b = bytes.Clone(b); b[at] ^= mask; return b }
	}
	// Every packet of two units in turn is lost or damaged: a unit that is
	// handed over is whole, and the loss is told.
	for i := head + 60; i < head+66; i++ {
		for name, damage := range map[string]func([]byte) []byte{
			"lost":            func([]byte) []byte { return nil },
			"twice":           func(b []byte) []byte { return slices.Concat(b, b) },
			"sync":            flip(0, 0xff),
			"error indicator": flip(1, 0x80),
			"PID":             flip(2, 0x01),
			"counter":         flip(3, 0x01),
		} {
			t.Run(fmt.Sprint(name, i-head), func(t *testing.T) {
				hit := slices.Clone(packets)
				hit[i] = damage(hit[i])
				d := run(hit)
				for _, u := range d.units {
					if !bytes.Equal(u, unit) {
						t.Errorf("a unit of %d bytes came, want %d", len(u), len(unit))
					}
				}
				if name == "twice" {
					if len(d.lost) != 0 || len(d.units) != 40 {
						t.Errorf("%d units, lost %q", len(d.units), d.lost)
					}
				} else if len(d.lost) == 0 || len(d.units) < 37 {
					t.Errorf("%d units, lost %q", len(d.units), d.lost)
				}
			})
		}
	}
	scrambled := slices.Clone(packets)
	for i := head; i < len(scrambled); i++ {
		scrambled[i] = flip(3, 0x80)(scrambled[i])
	}
	if d := run(scrambled); len(d.units) != 0 || !d.scrambled {
		t.Errorf("%d units of a scrambled track", len(d.units))
	}
}

func TestSyncer(t *testing.T) {
	m := &muxer{}
	m.tables(track{testVideo, kindH264})
	for i := range 20 {
		m.picture(testVideo, uint64(i), bytes.Repeat([]byte{syncByte}, 300))
	}
	want := slices.Collect(slices.Chunk(m.out, packetSize))
	for _, size := range []int{1, 100, 187, 188, 189, 1024, 1316, 1472} {
		var s syncer
		var got [][]byte
		for chunk := range slices.Chunk(m.out, size) {
			s.split(chunk, func(b []byte) { got = append(got, bytes.Clone(b)) })
		}
		if !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("datagrams of %d bytes: %d packets came out, want %d", size, len(got), len(want))
		}
	}
	var s syncer
	n := s.split(slices.Concat([]byte("some bytes before"), m.out[:5*packetSize]), func([]byte) {})
	if n != 5 {
		t.Errorf("%d packets behind garbage, want 5", n)
	}
}

func TestStripRTP(t *testing.T) {
	ts := append([]byte{syncByte}, make([]byte, 187)...)
	plain := append([]byte{0x80, 33, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0}, ts...)
	full := slices.Concat([]byte{0xb1, 33, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0}, []byte{1, 2, 3, 4}, []byte{0xbe, 0xde, 0, 1, 5, 6, 7, 8}, ts, []byte{0, 0, 3})
	for _, b := range [][]byte{plain, full} {
		payload, sequence, ok := stripRTP(b)
		if !ok || sequence != 0x1234 || !bytes.Equal(payload, ts) {
			t.Errorf("got %d bytes, %#x, %v", len(payload), sequence, ok)
		}
	}
	for i := range full {
		stripRTP(full[:i])
	}
	if _, _, ok := stripRTP(ts); ok {
		t.Error("a transport packet was taken for RTP")
	}
}
