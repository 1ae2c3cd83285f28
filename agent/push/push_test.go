package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/transport/packet"
)

// fakePusher does what the test tells it.
type fakePusher struct {
	run func(ctx context.Context, receivers func(int)) error

	mu    sync.Mutex
	stats packet.Stats
	runs  []time.Time
}

func (f *fakePusher) Run(ctx context.Context, receivers func(int)) error {
	f.mu.Lock()
	f.runs = append(f.runs, time.Now())
	f.mu.Unlock()
	return f.run(ctx, receivers)
}

func (f *fakePusher) Stats() packet.Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats
}

func (f *fakePusher) picture(bytes uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats.LastPicture = time.Now()
	f.stats.Bytes += bytes
}

func startPush(t *testing.T, f *fakePusher, maxPause time.Duration) (p *Push, log *bytes.Buffer, stop func()) {
	t.Helper()
	log = &bytes.Buffer{}
	p = New(Params{Camera: "hero", Destination: "udp://there", Pusher: f, MaxPause: maxPause, Log: slog.New(slog.NewTextHandler(log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return p, log, func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
		if s := p.Status().State; s != Idle {
			t.Errorf("after Run the push is %s", s)
		}
	}
}

func check(t *testing.T, p *Push, want State, reason string) {
	t.Helper()
	synctest.Wait()
	if st := p.Status(); st.State != want || st.Reason != reason {
		t.Errorf("push is %q (%q), want %q (%q)", st.State, st.Reason, want, reason)
	}
}

func TestStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := make(chan func(func(int)) error)
		f := &fakePusher{run: func(ctx context.Context, receivers func(int)) error {
			for {
				select {
				case step := <-steps:
					if err := step(receivers); err != nil {
						return err
					}
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}}
		do := func(n int) { steps <- func(receivers func(int)) error { receivers(n); return nil } }
		fail := func(words string) { steps <- func(func(int)) error { return errors.New(words) } }

		p, _, stop := startPush(t, f, time.Second)
		check(t, p, Connecting, "")
		do(0)
		check(t, p, Listening, "")
		do(2)
		check(t, p, Sending, "")
		do(0)
		check(t, p, Listening, "")
		do(1)
		f.picture(1000)
		time.Sleep(2 * time.Second)
		check(t, p, Sending, "")
		time.Sleep(3 * time.Second)
		check(t, p, NoPicture, "")
		f.picture(1000)
		time.Sleep(time.Second)
		check(t, p, Sending, "")

		// It has held for 5 s: the next attempt comes at once.
		lost := time.Now()
		fail("gone")
		check(t, p, Connecting, "gone")
		if again := f.runs[len(f.runs)-1]; !again.Equal(lost) {
			t.Errorf("tried again %v after a good connection was lost", again.Sub(lost))
		}
		fail("refused")
		check(t, p, Waiting, "refused")
		time.Sleep(time.Second)
		do(1)
		check(t, p, Sending, "")
		if n := p.Status().Failures; n != 2 {
			t.Errorf("%d failures, want 2", n)
		}
		stop()
	})
}

func TestTriesForEverWithinTheBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakePusher{run: func(context.Context, func(int)) error { return errors.New("nobody there") }}
		p, log, stop := startPush(t, f, 700*time.Millisecond)
		time.Sleep(time.Hour)
		stop()
		for i := 1; i < len(f.runs); i++ {
			if d := f.runs[i].Sub(f.runs[i-1]); d < minPause || d > 700*time.Millisecond {
				t.Fatalf("attempt %d came after %v", i, d)
			}
		}
		if n := len(f.runs); n < 3600*1000/700 || uint64(n) != p.Status().Failures+1 && uint64(n) != p.Status().Failures {
			t.Errorf("%d attempts, %d failures", n, p.Status().Failures)
		}
		if n := strings.Count(log.String(), "nobody there"); n != 1 {
			t.Errorf("the same failure stands %d times in the log", n)
		}
	})
}

func TestAConnectionThatFallsAtOnceIsNoBusyLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakePusher{run: func(_ context.Context, receivers func(int)) error {
			receivers(1)
			return errors.New("thrown out")
		}}
		_, log, stop := startPush(t, f, time.Second)
		time.Sleep(10 * time.Second)
		stop()
		if n := len(f.runs); n > 100 {
			t.Errorf("%d attempts in 10 s", n)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%d lines in the log: %s", n, log)
		}
	})
}

// refusal is an error of a server that says no.
type refusal time.Duration

func (refusal) Error() string               { return "no" }
func (r refusal) RetryAfter() time.Duration { return time.Duration(r) }

func TestRefusalsAreRare(t *testing.T) {
	for _, tt := range []struct {
		after       refusal
		least, most time.Duration // between two attempts
	}{
		{0, minRefusedPause, maxRefusedPause},
		{refusal(5 * time.Minute), 5 * time.Minute, 330 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakePusher{run: func(context.Context, func(int)) error { return fmt.Errorf("push: %w", tt.after) }}
			_, _, stop := startPush(t, f, time.Second)
			time.Sleep(time.Hour)
			stop()
			if n := time.Duration(len(f.runs)); n < time.Hour/tt.most {
				t.Errorf("%d attempts in an hour", n)
			}
			for i := 1; i < len(f.runs); i++ {
				if d := f.runs[i].Sub(f.runs[i-1]); d < tt.least || d > tt.most {
					t.Errorf("attempt %d came after %v, want %v to %v", i, d, tt.least, tt.most)
				}
			}
		})
	}
}

func TestBitrate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakePusher{run: func(ctx context.Context, receivers func(int)) error {
			receivers(1)
			<-ctx.Done()
			return ctx.Err()
		}}
		p, _, stop := startPush(t, f, time.Second)
		for range 500 {
			time.Sleep(10 * time.Millisecond)
			f.picture(10_000)
		}
		if b := p.Status().Bitrate; b < 7.9e6 || b > 8.1e6 {
			t.Errorf("bitrate %.0f, want 8 Mbit/s", b)
		}
		stop()
	})
}
