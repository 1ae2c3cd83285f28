package mpegts

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture"
	"github.com/lenscast/lenscast/capture/aac"
	"github.com/lenscast/lenscast/capture/h264"
)

// sink keeps what a receiver says.
type sink struct {
	units    []*h264.AccessUnit
	losses   []string
	troubles []error
	audio    []*aac.Frame
	sounds   []string
}

func (s *sink) Opened(capture.Info)       {}
func (s *sink) Write(au *h264.AccessUnit) { s.units = append(s.units, au) }
func (s *sink) Lost(reason string)        { s.losses = append(s.losses, reason) }
func (s *sink) Trouble(err error)         { s.troubles = append(s.troubles, err) }
func (s *sink) WriteAudio(f *aac.Frame)   { s.audio = append(s.audio, f) }
func (s *sink) DescribeAudio(text string) { s.sounds = append(s.sounds, text) }

var (
	alice = netip.MustParseAddrPort("192.0.2.1:4000")
	again = netip.MustParseAddrPort("192.0.2.1:4001") // the same host
	bob   = netip.MustParseAddrPort("192.0.2.2:4000")
)

// bench is a receiver on a table: its time is what the test says.
type bench struct {
	*receiver
	sink
	log bytes.Buffer
	now time.Time
	muxer
	pts uint64
}

func newBench() *bench {
	b := &bench{now: time.Now()}
	b.receiver = newReceiver("udp://:8554", &b.sink, slog.New(slog.NewTextHandler(&b.log, nil)), b.now)
	return b
}

// send sends what is muxed, in datagrams of 7 packets.
func (b *bench) send(from netip.AddrPort) {
	for d := range slices.Chunk(b.out, 7*packetSize) {
		b.datagram(d, from, b.now)
	}
	b.out = b.out[:0]
}

// film sends pictures at 30 fps.
func (b *bench) film(from netip.AddrPort, units [][]byte) {
	for _, u := range units {
		b.picture(testVideo, b.pts, u)
		b.pts += frame
		b.send(from)
		b.pass(time.Second / 30)
	}
}

// pass lets time pass.
func (b *bench) pass(d time.Duration) {
	for end := b.now.Add(d); b.now.Before(end); {
		b.now = b.now.Add(min(end.Sub(b.now), tickInterval))
		b.tick(b.now)
	}
}

func TestTrouble(t *testing.T) {
	tests := []struct {
		name string
		act  func(b *bench)
		is   error
		text string
	}{
		{"nothing", func(*bench) {}, capture.ErrNoSignal, "nothing arrives at udp://:8554: start the camera"},
		{"no TS", func(b *bench) {
			for range 40 {
				b.datagram(bytes.Repeat([]byte("hello"), 100), alice, b.now)
				b.pass(100 * time.Millisecond)
			}
		}, capture.ErrUnsupported, "is no MPEG-TS"},
		{"no tables", func(b *bench) { b.film(alice, repeat([]byte("x"), 90)) }, capture.ErrUnsupported, "without its tables"},
		{"HEVC", func(b *bench) {
			b.tables(track{testVideo, 0x24}, track{0x1100, 0x0f})
			b.film(alice, repeat([]byte("x"), 90))
		}, capture.ErrUnsupported, "carries H.265 (HEVC) and no H.264: set the camera to H.264"},
		{"sound only", func(b *bench) {
			b.tables(track{testVideo, 0x0f})
			b.film(alice, repeat([]byte("x"), 90))
		}, capture.ErrUnsupported, "carries no video and no H.264"},
		{"empty track", func(b *bench) {
			b.tables(track{0x200, kindH264})
			b.film(alice, repeat([]byte("x"), 90))
		}, capture.ErrNoSignal, "H.264 track of the MPEG-TS at udp://:8554 is empty"},
		{"no keyframe", func(b *bench) {
			b.tables(track{testVideo, kindH264})
			p := pictures(t, "baseline.264")[1:10]
			b.film(alice, slices.Concat(p, p, p, p, p, p, p, p))
		}, h264.ErrWaiting, "waiting for a keyframe"},
		{"never a keyframe", func(b *bench) {
			b.tables(track{testVideo, kindH264})
			p := pictures(t, "baseline.264")[1:10]
			for range 40 {
				b.film(alice, p)
			}
		}, capture.ErrUnsupported, "no keyframe for 10 s"},
		{"B-frames", func(b *bench) {
			b.tables(track{testVideo, kindH264})
			b.film(alice, pictures(t, "bframes.264"))
		}, capture.ErrUnsupported, "turn B-frames off"},
		{"10 bit", func(b *bench) {
			b.tables(track{testVideo, kindH264})
			b.film(alice, pictures(t, "high10.264"))
		}, capture.ErrUnsupported, "10-bit"},
		{"it stops", func(b *bench) {
			b.tables(track{testVideo, kindH264})
			b.film(alice, pictures(t, "baseline.264"))
		}, capture.ErrNoSignal, "any more"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench()
			test.act(b)
			if test.name == "nothing" || test.name == "it stops" {
				b.pass(3 * time.Second)
			}
			if len(b.troubles) == 0 {
				t.Fatal("nobody was told")
			}
			last := b.troubles[len(b.troubles)-1]
			if !errors.Is(last, test.is) || !strings.Contains(last.Error(), test.text) {
				t.Errorf("told %q, want %q that wraps %q", last, test.text, test.is)
			}
			if len(b.troubles) > 2 {
				t.Errorf("told %d times: %q", len(b.troubles), b.troubles)
			}
		})
	}
}

func TestTroubleEndsWithPicture(t *testing.T) {
	b := newBench()
	b.pass(10 * time.Second)
	b.tables(track{testVideo, kindH264})
	b.film(alice, pictures(t, "baseline.264"))
	b.pass(10 * time.Second)
	if len(b.troubles) != 2 {
		t.Errorf("told %q, want no signal before and after", b.troubles)
	}
}

func TestSendersTakeTurns(t *testing.T) {
	film := pictures(t, "baseline.264")
	for _, test := range []struct {
		name  string
		next  netip.AddrPort
		pause time.Duration
		taken bool
	}{
		{"another at once", bob, 0, false},
		{"another after half a second", bob, 500 * time.Millisecond, false},
		{"another after a second", bob, time.Second, true},
		{"the same host at once", again, 0, false},
		{"the same host after 300 ms", again, 300 * time.Millisecond, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench()
			b.tables(track{testVideo, kindH264})
			b.film(alice, film)
			n := len(b.units)
			b.pass(test.pause)
			b.muxer, b.pts = muxer{}, 0 // the sender knows nothing of the one before
			b.tables(track{testVideo, kindH264})
			for _, u := range pictures(t, "slices.264") {
				b.picture(testVideo, b.pts, u)
				b.pts += frame
			}
			b.send(test.next) // a burst, as the first sender may still be there
			if taken := len(b.units) > n; taken != test.taken {
				t.Fatalf("%d pictures of the second sender", len(b.units)-n)
			}
			if !test.taken {
				if strings.Count(b.log.String(), "a second sender is ignored") != 1 {
					t.Errorf("logged %q", b.log.String())
				}
				return
			}
			if !b.units[n].Key || len(b.losses) != 1 {
				t.Errorf("key %v, lost %q", b.units[n].Key, b.losses)
			}
			increasing(t, b.units)
		})
	}
}

func increasing(t *testing.T, units []*h264.AccessUnit) {
	t.Helper()
	for i := 1; i < len(units); i++ {
		if units[i].PTS <= units[i-1].PTS {
			t.Errorf("PTS of picture %d is %v after %v", i, units[i].PTS, units[i-1].PTS)
		}
	}
}

// TestPTSStartsAnew sends from one port, as a camera that restarts its stream
// may, with PTS and counters from 0 again.
func TestPTSStartsAnew(t *testing.T) {
	b := newBench()
	for range 3 {
		b.muxer, b.pts = muxer{}, 1000
		b.tables(track{testVideo, kindH264})
		b.film(alice, pictures(t, "baseline.264"))
		b.pass(500 * time.Millisecond)
	}
	if len(b.units) < 3*29-2 {
		t.Errorf("%d pictures of 90", len(b.units))
	}
	increasing(t, b.units)
}

func TestRTP(t *testing.T) {
	b := newBench()
	b.tables(track{testVideo, kindH264})
	for _, u := range pictures(t, "baseline.264") {
		b.picture(testVideo, b.pts, u)
		b.pts += frame
	}
	sequence := uint16(65530)
	lose := -1
	play := func() {
		for d := range slices.Chunk(b.out, 7*packetSize) {
			if lose--; lose != 0 {
				header := []byte{0x80, 33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
				binary.BigEndian.PutUint16(header[2:], sequence)
				b.datagram(append(header, d...), alice, b.now)
			}
			sequence++
		}
	}
	play()
	if len(b.units) != 30 || len(b.losses) != 0 {
		t.Fatalf("%d pictures, lost %q", len(b.units), b.losses)
	}
	lose = 3
	play()
	if n := len(b.losses); n == 0 || !strings.Contains(b.losses[n-1], "1 datagrams") {
		t.Errorf("lost %q", b.losses)
	}
}

func TestOverflowBreaksGroup(t *testing.T) {
	b := newBench()
	film := pictures(t, "baseline.264")
	b.tables(track{testVideo, kindH264})
	b.film(alice, film[:5])
	b.overflow(16)
	b.overflow(16)
	b.film(alice, film[5:])
	if len(b.losses) != 1 || !strings.Contains(b.losses[0], "16 datagrams") {
		t.Errorf("lost %q", b.losses)
	}
	if n := len(b.units); n != 4+20 || !b.units[4].Key {
		t.Errorf("%d pictures, want those before and those from the next IDR on", n)
	}
}

func BenchmarkReceive(b *testing.B) {
	// A second of 30 fps and 8 Mbit/s, as if it were all there at once.
	film := pictures(b, "baseline.264")
	t := newBench()
	t.tables(track{testVideo, kindH264})
	for range 4 {
		for _, u := range film {
			// Trailing zeros fill it up to 33 kB, without changing the picture.
			t.picture(testVideo, t.pts, append(slices.Clone(u), make([]byte, 33000-len(u))...))
			t.pts += frame
		}
	}
	stream := slices.Clone(t.out)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		t.units, t.losses = t.units[:0], nil
		t.now = t.now.Add(4 * time.Second)
		for d := range slices.Chunk(stream, 7*packetSize) {
			t.datagram(d, alice, t.now)
		}
	}
	b.ReportMetric(float64(len(film)*4), "pictures/op")
}
