package mpegts

import (
	"slices"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

// FuzzReceiver cuts bytes into datagrams and checks what comes out.
func FuzzReceiver(f *testing.F) {
	for _, m := range []muxer{{}, {length: true}, {padFirst: true}, {split: 100}} {
		m.tables(track{0x1100, 0x0f}, track{testVideo, kindH264})
		for i, u := range pictures(f, "slices.264")[:4] {
			m.picture(testVideo, uint64(i)*frame, u)
		}
		f.Add(m.out, 7*packetSize)
		f.Add(m.out, 1000)
	}
	rtp := []byte{0x80, 33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	m := muxer{}
	m.tables(track{testVideo, kindH264})
	f.Add(append(rtp, m.out...), len(rtp)+len(m.out))
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		if size < 1 {
			return
		}
		b := newBench()
		for d := range slices.Chunk(stream, size) {
			b.datagram(d, alice, b.now)
			b.now = b.now.Add(time.Millisecond)
		}
		b.pass(2 * quiet)
		increasing(t, b.units)
		for i, au := range b.units {
			if i == 0 && !au.Key {
				t.Fatal("the first picture is no IDR")
			}
			if len(au.NALUs) == 0 || au.Size() > h264.MaxAccessUnitSize {
				t.Fatalf("a picture of %d bytes", au.Size())
			}
		}
		if len(b.units) == 0 && len(b.troubles) == 0 {
			t.Fatal("nothing came and nobody was told")
		}
	})
}

// FuzzDemuxer takes transport packets after valid tables, so that what it
// finds is behind them.
func FuzzDemuxer(f *testing.F) {
	for _, m := range []muxer{{}, {length: true}, {padFirst: true}, {split: 300}} {
		for i := range 20 {
			m.picture(testVideo, uint64(i)*frame, make([]byte, 50*i))
		}
		f.Add(m.out)
	}
	f.Fuzz(func(t *testing.T, packets []byte) {
		var m muxer
		m.tables(track{testVideo, kindH264})
		d := demux()
		d.feed(m.out)
		d.feed(packets)
		total := 0
		for i, u := range d.units {
			total += len(u)
			if d.pts[i] >= 1<<33 {
				t.Fatalf("a PTS of %d", d.pts[i])
			}
		}
		if total > len(packets) {
			t.Fatalf("%d bytes came out of %d", total, len(packets))
		}
	})
}
