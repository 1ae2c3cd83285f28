package camera_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/agent/camera"
	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/capture"
	"github.com/lenscast/lenscast/capture/h264"
)

// script is a source that does what each of its runs was told to, and then
// fails with capture.ErrNoDevice.
type script struct {
	runs   []func(ctx context.Context, sink capture.Sink) error
	forced int

	mu     sync.Mutex
	starts []time.Time
}

func (s *script) Run(ctx context.Context, sink capture.Sink) error {
	s.mu.Lock()
	s.starts = append(s.starts, time.Now())
	n := len(s.starts)
	s.mu.Unlock()
	if n > len(s.runs) {
		return fmt.Errorf("open /dev/video0: %w", capture.ErrNoDevice)
	}
	return s.runs[n-1](ctx, sink)
}

// started returns when each run began.
func (s *script) started() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.starts)
}

func (s *script) ForceKeyframe()  { s.forced++ }
func (s *script) Skipped() uint64 { return 7 }

const interval = 40 * time.Millisecond

// deliver writes pictures for a time, the first with the given PTS.
func deliver(sink capture.Sink, pts, length time.Duration) {
	for end := pts + length; pts < end; pts += interval {
		sink.Write(&h264.AccessUnit{NALUs: [][]byte{{byte(h264.NALUIDR)}}, PTS: pts, Key: true})
		time.Sleep(interval)
	}
}

// forever delivers until ctx ends.
func forever(ctx context.Context, sink capture.Sink) error {
	sink.Opened(capture.Info{Mode: capture.Passthrough, Detail: "a test"})
	for ctx.Err() == nil {
		deliver(sink, time.Duration(time.Now().UnixNano()), interval)
	}
	return ctx.Err()
}

func wait(ctx context.Context, _ capture.Sink) error {
	<-ctx.Done()
	return ctx.Err()
}

// bench is a camera in a bubble of fake time.
type bench struct {
	t      *testing.T
	camera *camera.Camera
	stream *stream.Stream
	log    *bytes.Buffer
}

// start runs a camera in a bubble, and ends it after check.
func start(t *testing.T, src capture.Source, check func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, stream: stream.New(), log: &bytes.Buffer{}}
		b.camera = camera.New(camera.Params{
			Name: "hero", Source: src, Stream: b.stream, Log: slog.New(slog.NewTextHandler(b.log, nil)),
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.camera.Run(ctx) }()
		synctest.Wait()
		check(b)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
}

// after lets time pass and then expects a state whose reason has this text.
func (b *bench) after(d time.Duration, state camera.State, reason string) {
	b.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	st := b.camera.Status()
	if st.State != state || !strings.Contains(st.Reason, reason) || (reason == "") != (st.Reason == "") {
		b.t.Errorf("state %q, reason %q; want %q, %q", st.State, st.Reason, state, reason)
	}
}

func opened(sink capture.Sink) {
	sink.Opened(capture.Info{Mode: capture.Passthrough, Detail: "a test"})
}

func TestOpeningToLive(t *testing.T) {
	src := &script{runs: []func(context.Context, capture.Sink) error{
		func(ctx context.Context, sink capture.Sink) error {
			time.Sleep(2 * time.Second)
			opened(sink)
			time.Sleep(time.Second)
			return forever(ctx, sink)
		},
	}}
	start(t, src, func(b *bench) {
		b.after(0, camera.Opening, "")
		b.after(2500*time.Millisecond, camera.Opening, "")
		b.after(time.Second, camera.Live, "")
		st := b.camera.Status()
		if st.Name != "hero" || st.Mode != capture.Passthrough || st.Detail != "a test" || st.Restarts != 0 || st.Skipped != 7 {
			t.Errorf("status %+v", st)
		}
		if d := time.Since(st.Since); d < 400*time.Millisecond || d > 600*time.Millisecond {
			t.Errorf("live since %v ago, want 500ms", d)
		}
		if d := time.Since(st.LastPicture); d > interval {
			t.Errorf("last picture %v ago", d)
		}
	})
}

func TestErrorsOfTheSourceAreStates(t *testing.T) {
	for _, tt := range []struct {
		err   error
		state camera.State
	}{
		{capture.ErrNoDevice, camera.NoDevice},
		{capture.ErrNoCable, camera.NoCable},
		{capture.ErrNoSignal, camera.NoSignal},
		{capture.ErrUnsupported, camera.Unsupported},
		{capture.ErrGone, camera.Unplugged},
		{capture.ErrAsleep, camera.Asleep},
		{h264.ErrWaiting, camera.Opening},
		{errors.New("permission denied"), camera.Failed},
	} {
		t.Run(string(tt.state), func(t *testing.T) {
			err := fmt.Errorf("read hdmi: %w", tt.err)
			// Opening → ended → opened again → live → trouble → live → ended.
			src := &script{runs: []func(context.Context, capture.Sink) error{
				func(context.Context, capture.Sink) error { return err },
				func(ctx context.Context, sink capture.Sink) error {
					time.Sleep(time.Second)
					opened(sink)
					time.Sleep(time.Second)
					deliver(sink, 0, time.Second)
					sink.Trouble(err)
					time.Sleep(20 * time.Second) // longer than silence is borne
					deliver(sink, time.Hour, time.Second)
					return err
				},
				wait,
			}}
			start(t, src, func(b *bench) {
				b.after(0, tt.state, err.Error())
				b.after(900*time.Millisecond, tt.state, err.Error()) // run again, not open yet
				time.Sleep(time.Until(src.started()[1].Add(1500 * time.Millisecond)))
				b.after(0, camera.Opening, "")
				b.after(time.Second, camera.Live, "")
				b.after(time.Second, tt.state, err.Error())
				b.after(18*time.Second, tt.state, err.Error())
				b.after(2*time.Second, camera.Live, "")
				b.after(time.Second, tt.state, err.Error())
				if st := b.camera.Status(); st.Restarts != 2 {
					t.Errorf("%d restarts, want 2", st.Restarts)
				}
			})
		})
	}
}

func TestOpenWithoutPicturesIsNoSignal(t *testing.T) {
	src := &script{runs: []func(context.Context, capture.Sink) error{
		func(ctx context.Context, sink capture.Sink) error {
			opened(sink)
			time.Sleep(time.Minute)
			return forever(ctx, sink)
		},
	}}
	start(t, src, func(b *bench) {
		b.after(2900*time.Millisecond, camera.Opening, "")
		b.after(200*time.Millisecond, camera.NoSignal, "sends no picture")
		b.after(55*time.Second, camera.NoSignal, "sends no picture") // it may wait as long as it likes
		b.after(3*time.Second, camera.Live, "")
		if len(src.started()) != 1 {
			t.Errorf("the source ran %d times, want once", len(src.started()))
		}
	})
}

func TestSilentSourceIsRunAgain(t *testing.T) {
	src := &script{runs: []func(context.Context, capture.Sink) error{
		func(ctx context.Context, sink capture.Sink) error {
			opened(sink)
			deliver(sink, 0, 5*time.Second)
			return wait(ctx, sink)
		},
		forever,
	}}
	start(t, src, func(b *bench) {
		b.after(5*time.Second, camera.Live, "")
		b.after(2800*time.Millisecond, camera.Live, "")
		b.after(200*time.Millisecond, camera.NoSignal, "stopped sending pictures")
		b.after(11900*time.Millisecond, camera.NoSignal, "stopped sending pictures")
		if len(src.started()) != 1 {
			t.Fatalf("run again after %v", src.started()[1].Sub(src.started()[0]))
		}
		b.after(time.Second, camera.Live, "")
		if st := b.camera.Status(); st.Restarts != 1 {
			t.Errorf("%d restarts, want 1", st.Restarts)
		}
	})
}

func TestSourceThatEndsWithoutReasonFails(t *testing.T) {
	src := &script{runs: []func(context.Context, capture.Sink) error{
		func(context.Context, capture.Sink) error { return nil },
	}}
	start(t, src, func(b *bench) { b.after(0, camera.Failed, "without a reason") })
}

func TestPanicIsAFailureOfOneCamera(t *testing.T) {
	src := &script{runs: []func(context.Context, capture.Sink) error{
		func(context.Context, capture.Sink) error { panic("index out of range") },
		forever,
	}}
	start(t, src, func(b *bench) {
		b.after(0, camera.Failed, "internal error")
		b.after(time.Second, camera.Live, "")
		if n := strings.Count(b.log.String(), "stack="); n != 1 {
			t.Errorf("the stack was logged %d times", n)
		}
	})
}

func TestRestartsBackOffAndStartOverAfterASteadyRun(t *testing.T) {
	steady := func(_ context.Context, sink capture.Sink) error {
		deliver(sink, 0, 11*time.Second)
		return capture.ErrGone
	}
	var runs []func(context.Context, capture.Sink) error
	fail := func(context.Context, capture.Sink) error { return capture.ErrNoDevice }
	for range 10 {
		runs = append(runs, fail)
	}
	runs = append(runs, steady)
	src := &script{runs: runs}
	start(t, src, func(b *bench) {
		b.after(5*time.Minute, camera.NoDevice, "no device")
		if n := len(src.started()); n < 5*60/4 || n > 5*60/2+40 {
			t.Errorf("%d attempts in 5 min, want one every 250 ms to 4 s", n)
		}
		if d := src.started()[1].Sub(src.started()[0]); d > 500*time.Millisecond {
			t.Errorf("first attempt after %v, want at most 500ms", d)
		}
		if d := src.started()[11].Sub(src.started()[10]) - 11*time.Second; d > 500*time.Millisecond {
			t.Errorf("after a steady run the next came after %v, want at most 500ms", d)
		}
		// A camera that isn't there is one line in the log, not one a try.
		if n := strings.Count(b.log.String(), "no device"); n > 6 {
			t.Errorf("%d lines say that there is no device:\n%s", n, b.log)
		}
	})
}

func TestTimeIsContinuousOverRestarts(t *testing.T) {
	src := &script{runs: []func(context.Context, capture.Sink) error{
		func(_ context.Context, sink capture.Sink) error {
			deliver(sink, time.Hour, time.Second)
			return capture.ErrGone
		},
		func(ctx context.Context, sink capture.Sink) error {
			time.Sleep(2 * time.Second)
			deliver(sink, time.Minute, time.Second) // another clock
			deliver(sink, time.Second, time.Second) // back, against the contract
			return wait(ctx, sink)
		},
	}}
	start(t, src, func(b *bench) {
		r := b.stream.Subscribe(stream.AtOnce, 1000)
		defer r.Close()
		begin := time.Now()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if n := r.Len(); n != 3*int(time.Second/interval) {
			t.Fatalf("%d pictures", n)
		}
		var last time.Duration
		for i := range r.Len() {
			au, err := r.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if i > 0 && au.PTS <= last {
				t.Fatalf("picture %d: %v after %v", i, au.PTS, last)
			}
			last = au.PTS
		}
		// The stream's clock ran on while the source was away.
		if want := b.camera.Status().LastPicture.Sub(begin); last < want-interval || last > want+interval {
			t.Errorf("last PTS %v, want %v", last, want)
		}
	})
}

func TestLossesAreCountedAndLoggedOncePerMinute(t *testing.T) {
	src := &script{runs: []func(context.Context, capture.Sink) error{
		func(ctx context.Context, sink capture.Sink) error {
			for range 700 {
				sink.Lost("3 datagrams lost")
				deliver(sink, time.Duration(time.Now().UnixNano()), interval)
				time.Sleep(100*time.Millisecond - interval)
			}
			return wait(ctx, sink)
		},
	}}
	start(t, src, func(b *bench) {
		time.Sleep(71 * time.Second)
		synctest.Wait()
		if st := b.camera.Status(); st.Lost != 700 {
			t.Errorf("%d losses, want 700", st.Lost)
		}
		if log := b.log.String(); strings.Count(log, "pictures lost") != 2 || !strings.Contains(log, "times=1 ") && !strings.Contains(log, "times=1\n") || !strings.Contains(log, "times=600") {
			t.Errorf("log:\n%s", log)
		}
	})
}

func TestKeyframeWishesReachTheSource(t *testing.T) {
	src := &script{runs: []func(context.Context, capture.Sink) error{forever}}
	start(t, src, func(b *bench) {
		b.stream.RequestKeyframe()
		if src.forced != 1 {
			t.Errorf("%d keyframes forced, want 1", src.forced)
		}
	})
}

func TestStreamForgetsASourceThatIsNotLive(t *testing.T) {
	for name, then := range map[string]func(context.Context, capture.Sink) error{
		"ended": func(context.Context, capture.Sink) error { return capture.ErrGone },
		"quiet": wait,
		"trouble": func(ctx context.Context, sink capture.Sink) error {
			sink.Trouble(capture.ErrNoSignal)
			return wait(ctx, sink)
		},
	} {
		t.Run(name, func(t *testing.T) {
			src := &script{runs: []func(context.Context, capture.Sink) error{
				func(ctx context.Context, sink capture.Sink) error {
					opened(sink)
					deliver(sink, 0, time.Second)
					return then(ctx, sink)
				},
				wait,
			}}
			start(t, src, func(b *bench) {
				time.Sleep(5 * time.Second)
				r := b.stream.Subscribe(stream.AtOnce, 10)
				defer r.Close()
				if n := r.Len(); n != 0 {
					t.Errorf("a new reader is shown %d old pictures", n)
				}
			})
		})
	}
}

func TestSourceThatDoesNotStopIsStuck(t *testing.T) {
	src := &script{runs: []func(context.Context, capture.Sink) error{
		func(ctx context.Context, sink capture.Sink) error {
			opened(sink)
			deliver(sink, 0, interval)
			<-ctx.Done()
			time.Sleep(time.Minute) // a system call that hangs
			return ctx.Err()
		},
		forever,
	}}
	start(t, src, func(b *bench) {
		b.after(24*time.Second, camera.NoSignal, "stopped sending")
		if b.camera.Status().Stuck {
			t.Error("stuck before 10 s are over")
		}
		b.after(2*time.Second, camera.NoSignal, "stopped sending")
		if !b.camera.Status().Stuck {
			t.Error("not stuck 11 s after it was told to stop")
		}
		b.after(time.Minute, camera.Live, "")
		if b.camera.Status().Stuck {
			t.Error("stuck although it has stopped and runs again")
		}
	})
}
