package retry_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/agent/retry"
)

var policy = retry.Policy{Floor: 100 * time.Millisecond, Cap: 2 * time.Second}

// spread draws the delay after the nth failure many times.
func spread(n int) (least, most time.Duration) {
	least = time.Hour
	for range 2000 {
		b := retry.New(policy)
		for range n - 1 {
			b.Next()
		}
		d := b.Next()
		least, most = min(least, d), max(most, d)
	}
	return least, most
}

func TestDelaysGrowFromFloorToCapWithFullJitter(t *testing.T) {
	for _, tt := range []struct {
		failure int
		bound   time.Duration
	}{
		{1, 200 * time.Millisecond},
		{2, 400 * time.Millisecond},
		{3, 800 * time.Millisecond},
		{4, 1600 * time.Millisecond},
		{5, 2 * time.Second},
		{100, 2 * time.Second},
	} {
		least, most := spread(tt.failure)
		if least < policy.Floor || most > tt.bound {
			t.Errorf("failure %d: delays from %v to %v, want within %v and %v", tt.failure, least, most, policy.Floor, tt.bound)
		}
		// Full jitter: 2000 draws reach both ends of the range.
		span := tt.bound - policy.Floor
		if least > policy.Floor+span/50 || most < tt.bound-span/50 {
			t.Errorf("failure %d: delays from %v to %v do not fill %v to %v", tt.failure, least, most, policy.Floor, tt.bound)
		}
	}
}

func TestResetStartsOver(t *testing.T) {
	for range 200 {
		b := retry.New(policy)
		for range 10 {
			b.Next()
		}
		b.Reset()
		if d := b.Next(); d > 200*time.Millisecond {
			t.Fatalf("first delay after Reset is %v, want at most 200ms", d)
		}
	}
}

func TestFloorEqualToCap(t *testing.T) {
	b := retry.New(retry.Policy{Floor: time.Second, Cap: time.Second})
	for range 5 {
		if d := b.Next(); d != time.Second {
			t.Fatalf("delay %v, want 1s", d)
		}
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := retry.New(policy)
		start := time.Now()
		if err := b.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d < policy.Floor || d > 2*policy.Floor {
			t.Errorf("waited %v, want 100ms to 200ms", d)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		start = time.Now()
		if err := b.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait with an ending context: %v", err)
		}
		if d := time.Since(start); d != time.Millisecond {
			t.Errorf("returned %v after the context's end", d-time.Millisecond)
		}
	})
}

func TestPermanent(t *testing.T) {
	base := errors.New("password refused")
	err := fmt.Errorf("connect: %w", retry.Permanent(base))
	if !retry.IsPermanent(err) || !errors.Is(err, base) || err.Error() != "connect: password refused" {
		t.Errorf("%v: permanent %v, wraps the cause %v", err, retry.IsPermanent(err), errors.Is(err, base))
	}
	if retry.IsPermanent(base) || retry.IsPermanent(nil) || retry.Permanent(nil) != nil {
		t.Error("an unmarked error counts as permanent")
	}
}
