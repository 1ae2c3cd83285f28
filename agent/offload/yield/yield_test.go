package yield

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// start runs a controller that sees no connection, so it stays at its least
// rate while live is active.
func start(t *testing.T, live *Live) *Controller {
	c := New(Params{
		Live: func() Live { return *live },
		Path: func() (filetransfer.TCPInfo, bool) { return filetransfer.TCPInfo{}, false },
		Set:  func(int64) {},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	return c
}

func TestPaceKeepsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, &Live{Active: true})
		synctest.Wait()
		begin, total := time.Now(), 0
		for time.Since(begin) < 60*time.Second {
			if err := c.Pace(t.Context(), 16<<10); err != nil {
				t.Fatal(err)
			}
			total += 16 << 10
		}
		got, want := float64(total)*8/time.Since(begin).Seconds(), float64(leastRate)
		if got < 0.95*want || got > 1.1*want {
			t.Errorf("%.0f bit/s, want about %.0f", got, want)
		}
	})
}

func TestPaceFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, &Live{})
		synctest.Wait()
		begin := time.Now()
		for range 10_000 {
			if err := c.Pace(t.Context(), 256<<10); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("waited %v without a picture", took)
		}
	})
}

// Not even the largest frame waits for longer than a receiver does in a pause.
func TestPaceInPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, &Live{Active: true, Reduced: true})
		synctest.Wait()
		for begin := time.Now(); time.Since(begin) < time.Minute; {
			before := time.Now()
			if err := c.Pace(t.Context(), 16<<10); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(before); took > 6*time.Second {
				t.Fatalf("waited %v", took)
			}
		}
	})
}

func TestPaceEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, &Live{Active: true, Reduced: true})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var err error
		for err == nil {
			err = c.Pace(ctx, 1<<20)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}
