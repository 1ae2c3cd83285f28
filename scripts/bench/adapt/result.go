package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// told is what the agent says, got what a receiver got in a tenth of a second.
type told struct {
	At      time.Time
	Target  float64 // bit/s
	Width   int
	FPS     float64
	Reduced string
}

type got struct {
	At       time.Time
	Bytes    int
	Pictures int           // whole ones
	Broken   int           // with a hole
	Latency  time.Duration // from capture to arrival, the worst of these pictures; of SRT over the least
}

// result is one measurement.
type result struct {
	kind, buffer string

	mu            sync.Mutex
	tolds         []told
	gots          []got
	down, up, end time.Time
}

func (r *result) told(line []byte) {
	var t told
	if json.Unmarshal(line, &t) == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.tolds = append(r.tolds, t)
	}
}

func (r *result) got(line []byte) {
	var g got
	if json.Unmarshal(line, &g) == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.gots = append(r.gots, g)
	}
}

// await waits for pictures.
func (r *result) await(ctx context.Context, length time.Duration) error {
	for deadline := time.Now().Add(length); ; {
		r.mu.Lock()
		n := len(r.gots)
		r.mu.Unlock()
		if n > 10 {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("no picture arrives")
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// print prints the time series and the goals, and returns how many were missed.
func (r *result) print(out io.Writer, every time.Duration) (missed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(out, "\n%s, queue of %s\n%8s %8s %8s %6s %5s %9s %7s\n", r.kind, r.buffer,
		"s", "told", "received", "width", "fps", "latency", "broken")
	zero := r.down.Add(-settled)
	for at := zero; at.Before(r.end); at = at.Add(every) {
		t, g := r.between(at, every)
		fmt.Fprintf(out, "%8.1f %8.2f %8.2f %6d %5.0f %9v %7d %s\n", at.Sub(zero).Seconds(), t.Target/1e6, float64(g.Bytes)*8/1e6/every.Seconds(),
			t.Width, float64(g.Pictures)/every.Seconds(), g.Latency.Round(time.Millisecond), g.Broken, t.Reduced)
	}
	goal := func(what string, took, limit time.Duration) {
		verdict := "ok"
		if took > limit {
			verdict = "MISSED"
			missed++
		}
		fmt.Fprintf(out, "%-52s %6.2f s, at most %4.1f: %s\n", what, took.Seconds(), limit.Seconds(), verdict)
	}
	goal("encoder below 2 Mbit/s after 8 to 2", r.firstBelow(small).Sub(r.down), time.Second)
	goal("latency below 200 ms after 8 to 2", r.lastLate(200*time.Millisecond).Sub(r.down), 2*time.Second)
	goal("encoder at 80 % after 2 to 8", r.firstAt(0.8*asked).Sub(r.up), 15*time.Second)
	freezes, frozen := r.freezes()
	fmt.Fprintf(out, "freezes of 0.3 s or more: %d, %.1f s in all\n", freezes, frozen.Seconds())
	return missed
}

// between sums up what was from at on, for so long.
func (r *result) between(at time.Time, length time.Duration) (t told, g got) {
	for _, x := range r.tolds {
		if d := x.At.Sub(at); d >= 0 && d < length {
			t = x
		}
	}
	for _, x := range r.gots {
		if d := x.At.Sub(at); d >= 0 && d < length {
			g.Bytes += x.Bytes
			g.Pictures += x.Pictures
			g.Broken += x.Broken
			g.Latency = max(g.Latency, x.Latency)
		}
	}
	return t, g
}

// firstBelow returns from when on the encoder was told less than a rate for a
// second after the link became narrow.
func (r *result) firstBelow(rate float64) time.Time {
	var since time.Time
	for _, t := range r.tolds {
		switch {
		case t.At.Before(r.down):
		case t.Target >= rate:
			since = time.Time{}
		case since.IsZero():
			since = t.At
		case t.At.Sub(since) >= time.Second:
			return since
		}
	}
	return r.down.Add(time.Hour)
}

// lastLate returns when a picture was late last, in the first half of the time
// that the link is narrow.
func (r *result) lastLate(latency time.Duration) time.Time {
	at := r.down
	for _, g := range r.gots {
		if g.At.After(r.down) && g.At.Before(r.down.Add(narrow/2)) && g.Latency > latency {
			at = g.At
		}
	}
	return at
}

// firstAt returns when the encoder was told a rate again.
func (r *result) firstAt(rate float64) time.Time {
	for _, t := range r.tolds {
		if t.At.After(r.up) && t.Target >= rate {
			return t.At
		}
	}
	return r.up.Add(time.Hour)
}

// freezes counts the times without a whole picture.
func (r *result) freezes() (n int, sum time.Duration) {
	last := r.down.Add(-settled / 2)
	for _, g := range r.gots {
		if g.Pictures == 0 || g.At.Before(last) || g.At.After(r.end) {
			continue
		}
		if gap := g.At.Sub(last); gap >= 300*time.Millisecond {
			n++
			sum += gap
		}
		last = g.At
	}
	return n, sum
}
