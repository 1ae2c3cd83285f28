package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/transport/packet"
	"github.com/lenscast/lenscast/transport/udp/internal/clip"
)

// scriptedReader delivers what it was given, then waits.
type scriptedReader struct {
	aus    chan *h264.AccessUnit
	direct func(*h264.AccessUnit) bool
	wishes int
	closed bool
}

func newScriptedReader(aus ...*h264.AccessUnit) *scriptedReader {
	r := &scriptedReader{aus: make(chan *h264.AccessUnit, 1000)}
	for _, au := range aus {
		r.aus <- au
	}
	return r
}

func (r *scriptedReader) Next(ctx context.Context) (*h264.AccessUnit, error) {
	select {
	case au := <-r.aus:
		return au, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *scriptedReader) Direct(take func(*h264.AccessUnit) bool) { r.direct = take }
func (r *scriptedReader) Len() int                                { return len(r.aus) }
func (r *scriptedReader) RequestKeyframe()                        { r.wishes++ }
func (r *scriptedReader) Afford(int)                              {}
func (r *scriptedReader) Close()                                  { r.closed = true }

// recordingLink keeps the groups it was given; from time to time it is full.
type recordingLink struct {
	groups  [][]int // sizes of the datagrams that were sent together
	at      []time.Time
	full    func(group int) bool
	failure error // of every call
}

func (l *recordingLink) send(b []byte, size int) error {
	var group []int
	for datagram := range slices.Chunk(b, size) {
		group = append(group, len(datagram))
	}
	l.groups, l.at = append(l.groups, group), append(l.at, time.Now())
	if l.full != nil && l.full(len(l.groups)-1) {
		return packet.ErrFull
	}
	return l.failure
}

// plainCutter makes datagrams of 1000 bytes.
type plainCutter struct{ pts []time.Duration }

func (c *plainCutter) picture(d *datagrams, pic picture) {
	c.pts = append(c.pts, pic.pts)
	for n := pic.Size(); n > 0; n -= 1000 {
		d.buf = append(d.buf, make([]byte, min(n, 1000))...)
		d.end()
	}
}

func (c *plainCutter) idle(d *datagrams, _ time.Duration) {
	d.buf = append(d.buf, 0)
	d.end()
}

func testFlow(l *recordingLink) (*flow, *plainCutter) {
	c := &plainCutter{}
	return &flow{cut: c, link: l, pacer: packet.NewPacer(&packet.Clock{}), count: &counters{}}, c
}

// setIdle lets f send the program clock, by a timer of the bubble of synctest.
func setIdle(f *flow) {
	timer := time.AfterFunc(time.Hour, f.sendIdle)
	timer.Stop()
	f.idle, f.alarm = tsIdle, timerAlarm{timer}
}

// timerAlarm is an alarm that lives in a bubble, as a packet.Alarm does not.
type timerAlarm struct{ timer *time.Timer }

func (a timerAlarm) Set(d time.Duration) { a.timer.Reset(d) }
func (a timerAlarm) Close()              { a.timer.Stop() }

// runFlow runs f in a bubble of synctest and returns what ends it.
func runFlow(ctx context.Context, f *flow, r Reader) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- f.run(ctx, r) }()
	return func() error { cancel(); return <-done }
}

func TestLargePicturesLeaveInSmallGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := &recordingLink{}
		f, _ := testFlow(link)
		stop := runFlow(t.Context(), f, newScriptedReader(clip.Synthetic(1, 30, 30, 100, 200_000)...))
		time.Sleep(time.Second)
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		total := 0
		for i, g := range link.groups {
			n := 0
			for _, size := range g {
				n += size
			}
			total += n
			// What a queue of 75 KB at 30 Mbit/s holds besides.
			if n > 25_000 || i > 0 && n > 8_000 {
				t.Errorf("group %d has %d bytes", i, n)
			}
		}
		if took := link.at[len(link.at)-1].Sub(link.at[0]); total < 200_000 || took < 50*time.Millisecond || took > 110*time.Millisecond {
			t.Errorf("%d bytes took %v", total, took)
		}
	})
}

func TestFullSocketDropsToTheNextKeyframe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := &recordingLink{full: func(group int) bool { return group == 3 }}
		f, cutter := testFlow(link)
		aus := clip.Synthetic(25, 30, 10, 100, 100)
		r := newScriptedReader()
		stop := runFlow(t.Context(), f, r)
		for _, au := range aus {
			r.aus <- au
			time.Sleep(33 * time.Millisecond)
		}
		_ = stop()
		var want []time.Duration
		for i, au := range aus {
			if i <= 3 || i >= 10 {
				want = append(want, au.PTS)
			}
		}
		if !slices.Equal(cutter.pts, want) {
			t.Errorf("sent pictures of %v, want %v", cutter.pts, want)
		}
		if r.wishes != 1 || f.count.dropped.Load() != 7 {
			t.Errorf("%d wishes for a keyframe, %d pictures dropped; want 1 and 7", r.wishes, f.count.dropped.Load())
		}
		if !r.closed {
			t.Error("the reader is not closed")
		}
	})
}

func TestCatchingUpEndsInThePresent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, cutter := testFlow(&recordingLink{})
		aus := clip.Synthetic(40, 10, 40, 100, 100)
		r := newScriptedReader(aus[:30]...)
		stop := runFlow(t.Context(), f, r)
		for _, au := range aus[30:] {
			synctest.Wait()
			r.aus <- au
		}
		time.Sleep(time.Second)
		_ = stop()
		if len(cutter.pts) != 40 || cutter.pts[29] != aus[29].PTS || cutter.pts[0] != aus[29].PTS-29*catchUpStep || cutter.pts[39] != aus[39].PTS {
			t.Errorf("times %v", cutter.pts)
		}
	})
}

func TestClockGoesOnBetweenPictures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := &recordingLink{}
		f, _ := testFlow(link)
		setIdle(f)
		r := newScriptedReader(clip.Synthetic(1, 30, 30, 100, 100)...)
		stop := runFlow(t.Context(), f, r)
		time.Sleep(time.Second)
		_ = stop()
		for i := 1; i < len(link.at); i++ {
			if d := link.at[i].Sub(link.at[i-1]); d > 40*time.Millisecond {
				t.Errorf("nothing for %v", d)
			}
		}
		if n := len(link.at); n < 25 || n > 30 {
			t.Errorf("%d datagrams in a second", n)
		}
	})
}

// Slow pictures have the clock between them from the first one on.
func TestClockGoesOnBetweenSlowPictures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := &recordingLink{}
		f, _ := testFlow(link)
		setIdle(f)
		r := newScriptedReader()
		stop := runFlow(t.Context(), f, r)
		for _, au := range clip.Synthetic(20, 10, 20, 100, 100) {
			r.aus <- au
			time.Sleep(100 * time.Millisecond)
		}
		_ = stop()
		for i := 1; i < len(link.at); i++ {
			if d := link.at[i].Sub(link.at[i-1]); d > 40*time.Millisecond {
				t.Errorf("nothing for %v behind datagram %d", d, i)
			}
		}
	})
}

// A Pusher has its program clock from the kernel, so this one counts what comes
// while no picture does.
func TestPusherSendsClockWithoutPictures(t *testing.T) {
	l, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	aus := clip.Synthetic(2, 30, 2, 100, 100)
	aus[1].PTS = time.Hour
	start(t, newPusher(t, "udp://"+l.LocalAddr().String(), newCamera(aus)))
	if err := l.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2048)
	for clocks := 0; clocks < 5; {
		n, err := l.Read(buf)
		if err != nil {
			t.Fatalf("%v after %d datagrams with nothing but the clock", err, clocks)
		}
		if n == tsPacket && buf[3]&0x30 == 0x20 && buf[5]&0x10 != 0 { // adaptation field only, with a PCR
			clocks++
		}
	}
}

func TestDirectFlowSendsWhatNeedNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := &recordingLink{}
		f, cutter := testFlow(link)
		f.direct = true
		aus := clip.Synthetic(8, 60, 8, 16_000, 16_000)
		aus[6].NALUs = [][]byte{make([]byte, 60_000)} // must be paced
		r := newScriptedReader(aus[0])
		stop := runFlow(t.Context(), f, r)
		var want []time.Duration
		for i, au := range aus[1:] {
			time.Sleep(time.Second / 60)
			synctest.Wait()
			taken := r.direct(au)
			if small := i+1 != 6; taken != small {
				t.Errorf("picture %d of %d bytes: taken %v", i+1, au.Size(), taken)
			}
			if taken {
				want = append(want, au.PTS)
			}
		}
		if !slices.Equal(cutter.pts[1:], want) {
			t.Errorf("sent %v at once, want %v", cutter.pts[1:], want)
		}
		if r.direct(clip.Synthetic(1, 60, 1, 100, 100)[0]) {
			t.Error("a keyframe was taken")
		}
		_ = stop()
		if r.direct(aus[1]) {
			t.Error("a picture was taken after the end")
		}
	})
}

// Pictures that come in a burst are paced, whoever sends them.
func TestDirectFlowIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := testFlow(&recordingLink{})
		f.direct = true
		aus := clip.Synthetic(4, 60, 4, 16_000, 100)
		r := newScriptedReader(aus[0])
		stop := runFlow(t.Context(), f, r)
		time.Sleep(time.Second)
		synctest.Wait()
		if !r.direct(aus[1]) || r.direct(aus[2]) {
			t.Error("not one of two pictures at the same time left at once")
		}
		_ = stop()
	})
}

func TestDirectFlowEndsWithItsLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("gone")
		link := &recordingLink{}
		f, _ := testFlow(link)
		f.direct = true
		aus := clip.Synthetic(4, 60, 4, 100, 100)
		r := newScriptedReader(aus[0])
		done := make(chan error, 1)
		go func() { done <- f.run(t.Context(), r) }()
		synctest.Wait()
		link.failure = packet.ErrFull
		if !r.direct(aus[1]) || !r.direct(aus[2]) || f.count.dropped.Load() != 2 || r.wishes != 1 {
			t.Errorf("a full socket: %d pictures dropped, %d wishes for a keyframe; want 2 and 1", f.count.dropped.Load(), r.wishes)
		}
		f.mu.Lock()
		f.needKey, link.failure = false, gone
		f.mu.Unlock()
		if !r.direct(aus[3]) {
			t.Error("not taken")
		}
		if err := <-done; !errors.Is(err, gone) {
			t.Errorf("run ended with %v", err)
		}
	})
}

// BenchmarkFlow sends pictures of 8 Mbit/s at 60 fps to a socket that nobody
// reads.
func BenchmarkFlow(b *testing.B) {
	for _, scheme := range []string{"rtp", "udp"} {
		b.Run(scheme, func(b *testing.B) {
			l, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			pictures := clip.Synthetic(120, 60, 60, 17_000, 17_000)
			p := newPusher(b, fmt.Sprintf("%s://%s", scheme, l.LocalAddr()), newCamera(pictures))
			conn, to, err := dial(b.Context(), p.p.Destination, p.p.Destination.Port)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			f, err := p.newTSFlow(udpLink{conn: conn, to: to})
			if err != nil {
				b.Fatal(err)
			}
			defer f.end()
			if scheme == "rtp" {
				f.alarm.Close()
				f.cut, f.alarm = p.rtp, nil
			}
			r := newScriptedReader()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				au := *pictures[i%len(pictures)]
				au.PTS = time.Duration(i) * time.Second / 60
				f.pacer = packet.NewPacer(p.p.Clock) // with credit, as after the time between two pictures
				if err := f.sendPicture(b.Context(), picture{&au, au.PTS}, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
