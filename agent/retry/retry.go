// Package retry is the one policy by which lenscast tries again: exponential
// back-off with full jitter between a floor and a cap.
//
// The jitter keeps a hundred cameras that lost the same server from coming
// back in the same millisecond; the floor keeps an attempt that fails at once
// from becoming a busy loop.
package retry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Policy bounds the time between two attempts.
type Policy struct {
	Floor time.Duration // least delay, more than 0
	Cap   time.Duration // greatest delay, at least Floor
}

// Backoff counts the failures of one thing that is tried again and again. The
// caller calls Wait after every failure and Reset after a success. It is for
// one goroutine.
type Backoff struct {
	policy Policy
	window time.Duration // the next delay is drawn from [Floor, window]
}

// New makes a Backoff that has seen no failure. It panics when the policy is
// not one, which no input can bring about.
func New(p Policy) *Backoff {
	if p.Floor <= 0 || p.Cap < p.Floor {
		panic(fmt.Sprintf("retry: floor %v, cap %v", p.Floor, p.Cap))
	}
	b := &Backoff{policy: p}
	b.Reset()
	return b
}

// Next counts a failure and returns how long to wait after it: evenly
// distributed between the floor and a bound that starts at twice the floor
// and doubles with every failure up to the cap.
func (b *Backoff) Next() time.Duration {
	delay := b.policy.Floor + rand.N(b.window-b.policy.Floor+1)
	b.window = min(2*b.window, b.policy.Cap)
	return delay
}

// Wait counts a failure and sleeps for as long as Next says. It returns early
// with the context's error when ctx ends.
func (b *Backoff) Wait(ctx context.Context) error { return Sleep(ctx, b.Next()) }

// Sleep sleeps for d. It returns early with the context's error when ctx ends.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Reset forgets all failures: call it after a success.
func (b *Backoff) Reset() { b.window = min(2*b.policy.Floor, b.policy.Cap) }

// permanentError marks an error that trying again cannot cure.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks err as one that trying again cannot cure, such as a refused
// password. The mark changes nothing of its text and survives wrapping.
// Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// IsPermanent tells whether err, or an error it wraps, was marked by
// [Permanent]. All others are transient.
func IsPermanent(err error) bool {
	var p permanentError
	return errors.As(err, &p)
}
