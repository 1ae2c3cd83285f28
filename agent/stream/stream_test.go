package stream_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/capture/h264"
)

// feeder publishes pictures of 1000 bytes at 30 fps, numbered by their PTS.
type feeder struct {
	s *stream.Stream
	n int
}

const interval = time.Second / 30

func (f *feeder) publish(key bool) *h264.AccessUnit {
	nalu := make([]byte, 1000)
	nalu[0] = byte(h264.NALUSlice)
	if key {
		nalu[0] = byte(h264.NALUIDR)
	}
	au := &h264.AccessUnit{NALUs: [][]byte{nalu}, PTS: time.Duration(f.n) * interval, Key: key}
	f.n++
	f.s.Publish(au)
	return au
}

func (f *feeder) publishN(n int) {
	for range n {
		f.publish(false)
	}
}

// drain takes what waits without waiting for more.
func drain(t *testing.T, r *stream.Reader) []*h264.AccessUnit {
	t.Helper()
	var got []*h264.AccessUnit
	for r.Len() > 0 {
		au, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, au)
	}
	return got
}

func TestReaderStartsAtIDR(t *testing.T) {
	f := feeder{s: stream.New()}
	r := f.s.Subscribe(stream.AtOnce, 10)
	defer r.Close()
	f.publishN(3)
	key := f.publish(true)
	f.publishN(2)
	got := drain(t, r)
	if len(got) != 3 || got[0] != key {
		t.Fatalf("got %d pictures, first key %v; want 3 from the IDR on", len(got), got[0].Key)
	}
	if r.Dropped() != 3 {
		t.Errorf("dropped %d, want 3", r.Dropped())
	}
}

func TestLateReaderCatchesUpFromCache(t *testing.T) {
	f := feeder{s: stream.New()} // nobody can force a keyframe
	key := f.publish(true)
	f.publishN(299) // GOP of 10 s
	r := f.s.Subscribe(stream.AtOnce, 4)
	defer r.Close()
	f.publishN(4) // what it catches up with does not count against its queue
	got := drain(t, r)
	if len(got) != 304 || got[0] != key || r.Dropped() != 0 {
		t.Fatalf("got %d pictures, %d dropped; want the whole group of 304", len(got), r.Dropped())
	}
}

func TestLateReaderForcesKeyframeOfLongGOP(t *testing.T) {
	f := feeder{s: stream.New()}
	forced := 0
	f.s.OnKeyframeWish(func() { forced++ })
	f.publish(true)
	f.publishN(100)
	r := f.s.Subscribe(stream.AtOnce, 10)
	defer r.Close()
	if r.Len() != 0 || forced != 1 {
		t.Fatalf("%d pictures wait, %d keyframes forced; want 0 and 1", r.Len(), forced)
	}
	key := f.publish(true)
	if got := drain(t, r); len(got) != 1 || got[0] != key {
		t.Fatal("did not start at the forced keyframe")
	}
	// A short group of pictures is cheaper than an IDR for everybody.
	r2 := f.s.Subscribe(stream.AtOnce, 10)
	defer r2.Close()
	if r2.Len() != 1 || forced != 1 {
		t.Fatalf("%d pictures wait, %d keyframes forced; want 1 and 1", r2.Len(), forced)
	}
}

func TestOversizeGOPLeavesAStill(t *testing.T) {
	f := feeder{s: stream.New()}
	key := f.publish(true)
	f.publishN(1500)
	r := f.s.Subscribe(stream.AtOnce, 10)
	defer r.Close()
	f.publishN(5)
	if got := drain(t, r); len(got) != 1 || got[0] != key {
		t.Fatalf("got %d pictures, want the IDR alone", len(got))
	}
	next := f.publish(true)
	f.publishN(1)
	if got := drain(t, r); len(got) != 2 || got[0] != next {
		t.Fatalf("got %d pictures after the next IDR, want 2", len(got))
	}
}

func TestFullQueueDropsToNextIDRAndHarmsNobody(t *testing.T) {
	f := feeder{s: stream.New()}
	forced := 0
	f.s.OnKeyframeWish(func() { forced++ })
	slow := f.s.Subscribe(stream.AtOnce, 5)
	defer slow.Close()
	fast := f.s.Subscribe(stream.AtOnce, 5)
	defer fast.Close()
	seen := 0
	f.publish(true)
	for range 20 {
		f.publishN(1)
		seen += len(drain(t, fast))
	}
	if seen != 21 || fast.Dropped() != 0 {
		t.Errorf("the reader beside the stalled one got %d of 21 and lost %d", seen, fast.Dropped())
	}
	if forced == 0 {
		t.Error("no keyframe was asked for")
	}
	if n := slow.Len(); n != 0 {
		t.Errorf("%d pictures of a broken group wait", n)
	}
	key := f.publish(true)
	if got := drain(t, slow); len(got) != 1 || got[0] != key {
		t.Error("the stalled reader does not go on with the next IDR")
	}
	if slow.Dropped() != 21 {
		t.Errorf("dropped %d, want 21", slow.Dropped())
	}
}

func TestRecordingReaderAsksForNothing(t *testing.T) {
	f := feeder{s: stream.New()}
	f.s.OnKeyframeWish(func() { t.Error("a keyframe was asked for") })
	f.publish(true)
	r := f.s.Subscribe(stream.AtNextKeyframe, 5)
	defer r.Close()
	f.publishN(3)
	if r.Len() != 0 {
		t.Errorf("%d pictures wait before the next IDR", r.Len())
	}
}

func TestKeyframeWishesAreRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New()
		f := feeder{s: s}
		var forced atomic.Int64
		s.OnKeyframeWish(func() { forced.Add(1) })
		s.RequestKeyframe()
		if forced.Load() != 1 {
			t.Fatalf("first wish: forced %d, want 1 at once", forced.Load())
		}
		for range 100 {
			s.RequestKeyframe()
		}
		if forced.Load() != 1 {
			t.Fatalf("100 more at once: forced %d, want 1", forced.Load())
		}
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		if forced.Load() != 2 {
			t.Fatalf("after the interval: forced %d, want 2", forced.Load())
		}
		s.RequestKeyframe()
		f.publish(true) // answers the one that waits
		time.Sleep(time.Second)
		synctest.Wait()
		if forced.Load() != 2 {
			t.Errorf("after an IDR: forced %d, want 2", forced.Load())
		}
	})
}

func TestNextWaitsAndCloseEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := feeder{s: stream.New()}
		r := f.s.Subscribe(stream.AtOnce, 5)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next on an empty stream: %v", err)
		}
		done := make(chan error)
		go func() {
			_, err := r.Next(t.Context())
			done <- err
		}()
		synctest.Wait()
		r.Close()
		r.Close()
		if err := <-done; !errors.Is(err, stream.ErrClosed) {
			t.Errorf("Next after Close: %v", err)
		}
		if n := f.s.Stats().Readers; n != 0 {
			t.Errorf("%d readers left", n)
		}
	})
}

func TestDirectTakesWhatNextWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := feeder{s: stream.New()}
		r := f.s.Subscribe(stream.AtOnce, 5)
		defer r.Close()
		var taken []*h264.AccessUnit
		refuse := false
		r.Direct(func(au *h264.AccessUnit) bool {
			if !refuse {
				taken = append(taken, au)
			}
			return !refuse
		})
		f.publish(false) // before the first IDR
		f.publish(true)
		if len(taken) != 0 || r.Len() != 1 {
			t.Fatalf("%d pictures taken and %d left while Next does not wait, want 0 and 1", len(taken), r.Len())
		}
		_ = drain(t, r)

		next := make(chan *h264.AccessUnit)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(next)
			for {
				au, err := r.Next(ctx)
				if err != nil {
					return
				}
				next <- au
			}
		}()
		synctest.Wait()
		f.publishN(3)
		if len(taken) != 3 || r.Len() != 0 {
			t.Errorf("%d pictures taken and %d left while Next waits, want 3 and 0", len(taken), r.Len())
		}
		refuse = true
		refused := f.publish(false)
		refuse = false
		f.publish(false) // must not overtake the one that was refused
		if len(taken) != 3 {
			t.Errorf("%d pictures taken, want 3", len(taken))
		}
		if au := <-next; au != refused {
			t.Errorf("Next returned the picture of %v, want that of %v", au.PTS, refused.PTS)
		}
		<-next
		cancel()
		synctest.Wait()
		f.publish(false)
		if len(taken) != 3 || r.Len() != 1 {
			t.Errorf("%d pictures taken and %d left after Next has ended, want 3 and 1", len(taken), r.Len())
		}
	})
}

func TestDirectKeepsTheOrder(t *testing.T) {
	f := feeder{s: stream.New()}
	f.publish(true)
	const pictures = 20_000
	r := f.s.Subscribe(stream.AtOnce, pictures)
	defer r.Close()
	var mu sync.Mutex
	var got []time.Duration
	add := func(au *h264.AccessUnit) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, au.PTS)
	}
	n := 0
	r.Direct(func(au *h264.AccessUnit) bool {
		if n++; n%3 == 0 {
			return false
		}
		add(au)
		return true
	})
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			au, err := r.Next(ctx)
			if err != nil {
				return
			}
			add(au)
		}
	})
	f.publishN(pictures - 1)
	for r.Len() > 0 {
		runtime.Gosched()
	}
	cancel()
	reading.Wait()
	if len(got) != pictures || !slices.IsSorted(got) {
		t.Errorf("%d pictures of %d, in order: %v", len(got), pictures, slices.IsSorted(got))
	}
}

func TestCloseEndsAllReaders(t *testing.T) {
	f := feeder{s: stream.New()}
	f.publish(true)
	before := f.s.Subscribe(stream.AtOnce, 5)
	f.s.Close()
	f.publish(true)
	after := f.s.Subscribe(stream.AtOnce, 5)
	for _, r := range []*stream.Reader{before, after} {
		if _, err := r.Next(t.Context()); !errors.Is(err, stream.ErrClosed) {
			t.Errorf("Next after the stream was closed: %v, want ErrClosed", err)
		}
		r.Close()
	}
	if n := f.s.Stats().Readers; n != 0 {
		t.Errorf("%d readers left", n)
	}
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := feeder{s: stream.New()}
		for i := range 90 {
			f.publish(i%30 == 0)
			time.Sleep(interval)
		}
		st := f.s.Stats()
		if st.FPS < 29.5 || st.FPS > 30.5 {
			t.Errorf("fps %.2f, want 30", st.FPS)
		}
		if want := 30 * 1000 * 8.0; st.Bitrate < 0.97*want || st.Bitrate > 1.03*want {
			t.Errorf("bitrate %.0f, want %.0f", st.Bitrate, want)
		}
		if st.GOP != 30*interval || st.Pictures != 90 || st.Keyframes != 3 {
			t.Errorf("gop %v, pictures %d, keyframes %d", st.GOP, st.Pictures, st.Keyframes)
		}
		time.Sleep(4 * time.Second)
		if st := f.s.Stats(); st.FPS != 0 || st.Bitrate != 0 {
			t.Errorf("4 s after the last picture: %.1f fps, %.0f bit/s; want 0", st.FPS, st.Bitrate)
		}
	})
}

func BenchmarkPublish(b *testing.B) {
	f := feeder{s: stream.New()}
	for range 50 {
		r := f.s.Subscribe(stream.AtOnce, 1<<30)
		defer r.Close()
	}
	key := f.publish(true)
	b.ReportAllocs()
	for range b.N {
		f.s.Publish(key)
	}
}
