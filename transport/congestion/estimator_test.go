package congestion

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// after returns the samples from a time on, for so long.
func after(samples []sample, from, length time.Duration) []sample {
	var out []sample
	for _, s := range samples {
		if s.at >= from && s.at < from+length {
			out = append(out, s)
		}
	}
	return out
}

// lastWhere returns when the condition held last.
func lastWhere(samples []sample, condition func(sample) bool) time.Duration {
	var at time.Duration
	for _, s := range samples {
		if condition(s) {
			at = s.at
		}
	}
	return at
}

func mean(samples []sample) float64 {
	sum := 0.0
	for _, s := range samples {
		sum += s.target
	}
	return sum / float64(len(samples))
}

// The way carries 8, then 2, then 8 Mbit/s again.
func TestEstimatorFollowsSteps(t *testing.T) {
	for _, buffer := range []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 600 * time.Millisecond} {
		for _, fps := range []float64{60, 30, 10} {
			t.Run(fmt.Sprint(buffer, " ", fps), func(t *testing.T) {
				const down, up, length = 10 * time.Second, 30 * time.Second, 60 * time.Second
				w := defaultWay(steps(8e6, down, 2e6, up, 8e6))
				w.buffer = buffer
				c := defaultCamera()
				c.fps = fps
				short := 200 * time.Millisecond
				if fps < 20 { // one picture takes its time
					c.keySize, short = 2, 300*time.Millisecond
				}
				samples := run(t, w, c, length)
				if got := mean(after(samples, 5*time.Second, 5*time.Second)); got < 0.8*7.5e6 {
					t.Errorf("a way that is wide enough gives %.2f Mbit/s", got/1e6)
				}
				narrow := after(samples, down, up-down)
				if at := lastWhere(after(narrow, down, 3*time.Second), func(s sample) bool { return s.encoder > 2e6 }); at > down+time.Second {
					t.Errorf("the encoder is above 2 Mbit/s until %v after the step", at-down)
				}
				if at := lastWhere(narrow, func(s sample) bool { return s.queue > short }); at > down+2*time.Second {
					t.Errorf("the queue is above %v until %v after the step", short, at-down)
				}
				if got := mean(after(samples, down+3*time.Second, up-down-3*time.Second)); got < 0.75*2e6 || got > 2e6 {
					t.Errorf("2 Mbit/s give %.2f Mbit/s", got/1e6)
				}
				if got := mean(after(samples, up+15*time.Second, time.Hour)); got < 0.8*7.5e6 {
					t.Errorf("15 s after the step back there are %.2f Mbit/s", got/1e6)
				}
			})
		}
	}
}

// Loss that no queue makes is no reason to slow down much.
func TestEstimatorToleratesRandomLoss(t *testing.T) {
	for _, loss := range []float64{0.01, 0.03, 0.05, 0.10} {
		t.Run(fmt.Sprint(loss), func(t *testing.T) {
			w := defaultWay(constant(20e6))
			w.loss = loss
			samples := run(t, w, defaultCamera(), 60*time.Second)
			if got := mean(after(samples, 10*time.Second, time.Hour)); got < 0.9*7.5e6 {
				t.Errorf("the target is %.2f Mbit/s on the mean", got/1e6)
			}
			// And what a full queue takes away comes back.
			w.rate = steps(20e6, 10*time.Second, 2e6, 20*time.Second, 20e6)
			samples = run(t, w, defaultCamera(), 40*time.Second)
			if got := mean(after(samples, 13*time.Second, 7*time.Second)); got > 2.1e6 {
				t.Errorf("2 Mbit/s give %.2f Mbit/s", got/1e6)
			}
			if got := mean(after(samples, 35*time.Second, time.Hour)); got < 0.8*7.5e6 {
				t.Errorf("after the step the target is %.2f Mbit/s", got/1e6)
			}
		})
	}
}

// Chance makes much of a tenth for moments, at any rate, and that is never taken
// for a way that is full, though as much of the feedback is lost.
func TestEstimatorIgnoresChance(t *testing.T) {
	for _, rate := range []float64{0.5e6, 2e6, 7.5e6} {
		w, c := defaultWay(constant(20e6)), defaultCamera()
		w.loss, c.asked = 0.1, rate
		random := rand.New(rand.NewPCG(3, 4))
		w.deaf = func(time.Duration) bool { return random.Float64() < w.loss }
		for _, s := range run(t, w, c, 5*time.Minute) {
			if s.target < c.asked {
				t.Fatalf("after %v the target is %.2f of %.2f Mbit/s", s.at, s.target/1e6, rate/1e6)
			}
		}
	}
}

// A queue so short that only losses tell of it.
func TestEstimatorFollowsPolicer(t *testing.T) {
	w := defaultWay(steps(8e6, 10*time.Second, 2e6))
	w.buffer = 5 * time.Millisecond
	samples := run(t, w, defaultCamera(), 40*time.Second)
	if got := mean(after(samples, 12*time.Second, time.Hour)); got > 2.4e6 || got < 1e6 {
		t.Errorf("a policer of 2 Mbit/s gives %.2f Mbit/s", got/1e6)
	}
}

// A camera that makes little proves nothing, but is not pulled down either.
func TestEstimatorKnowsIdleCamera(t *testing.T) {
	w := defaultWay(steps(20e6, 10*time.Second, 2e6, 12*time.Second, 20e6))
	w.jitter = 10 * time.Millisecond
	c := defaultCamera()
	c.makes = steps(0.1)
	samples := run(t, defaultWay(constant(20e6)), c, 30*time.Second)
	if got := samples[len(samples)-1].target; got < c.asked {
		t.Errorf("an idle camera is pulled down to %.2f Mbit/s", got/1e6)
	}
	// Full at 2 Mbit/s, then almost idle on a wide way.
	c.makes = steps(1, 12*time.Second, 0.1)
	samples = run(t, w, c, 60*time.Second)
	for _, s := range after(samples, 20*time.Second, time.Hour) {
		if s.target > 4*max(s.encoder, 0.3e6) && s.target > 2.5e6 {
			t.Fatalf("at %v the target is %.2f Mbit/s, and %.2f were sent", s.at, s.target/1e6, s.encoder/1e6)
		}
	}
}

// Jitter of a radio is not a queue.
func TestEstimatorToleratesJitter(t *testing.T) {
	for _, jitter := range []time.Duration{10 * time.Millisecond, 30 * time.Millisecond} {
		w := defaultWay(constant(20e6))
		w.jitter, w.reorder = jitter, 0.02
		samples := run(t, w, defaultCamera(), 60*time.Second)
		if got := mean(samples); got < 0.8*7.5e6 {
			t.Errorf("jitter of %v: the target is %.2f Mbit/s on the mean", jitter, got/1e6)
		}
	}
}

// A radio that is off for a moment, or a receiver that is busy, is not a queue:
// what waited arrives at once.
func TestEstimatorToleratesStalls(t *testing.T) {
	for _, length := range []time.Duration{50 * time.Millisecond, 150 * time.Millisecond, 300 * time.Millisecond} {
		for _, fps := range []float64{30, 60} {
			w := defaultWay(constant(20e6))
			w.stall = func(t time.Duration) time.Duration {
				if into := t % (1700 * time.Millisecond); into < length {
					return length - into
				}
				return 0
			}
			c := defaultCamera()
			c.fps = fps
			samples := run(t, w, c, 60*time.Second)
			if got := mean(samples); got < 0.8*7.5e6 {
				t.Errorf("stalls of %v, %v fps: the target is %.2f Mbit/s on the mean", length, fps, got/1e6)
			}
		}
	}
}

// Others take part of the way, and leave it again.
func TestEstimatorSharesTheWay(t *testing.T) {
	w := defaultWay(constant(8e6))
	w.cross = steps(0, 10*time.Second, 5e6, 30*time.Second, 0.0)
	samples := run(t, w, defaultCamera(), 60*time.Second)
	if got := mean(after(samples, 13*time.Second, 17*time.Second)); got > 3.1e6 || got < 1.5e6 {
		t.Errorf("beside 5 of 8 Mbit/s the target is %.2f Mbit/s", got/1e6)
	}
	if got := mean(after(samples, 45*time.Second, time.Hour)); got < 0.8*7.5e6 {
		t.Errorf("alone again the target is %.2f Mbit/s", got/1e6)
	}
}

// No oscillation: near the capacity the target stays there.
func TestEstimatorIsSteady(t *testing.T) {
	samples := run(t, defaultWay(constant(4e6)), defaultCamera(), 120*time.Second)
	steady := after(samples, 20*time.Second, time.Hour)
	low, high := steady[0].target, steady[0].target
	worst := time.Duration(0)
	for _, s := range steady {
		low, high, worst = min(low, s.target), max(high, s.target), max(worst, s.queue)
	}
	if low < 0.6*4e6 || high > 1.15*4e6 || mean(steady) < 0.8*4e6 {
		t.Errorf("the target of a way of 4 Mbit/s is %.2f to %.2f, on the mean %.2f Mbit/s", low/1e6, high/1e6, mean(steady)/1e6)
	}
	if worst > 300*time.Millisecond {
		t.Errorf("the queue reaches %v", worst)
	}
}

// Feedback may be lost or late, and the receiver's clock may run wrong.
func TestEstimatorBearsBadFeedback(t *testing.T) {
	stepDown := steps(8e6, 10*time.Second, 2e6, 30*time.Second, 8e6)
	for name, change := range map[string]func(*way){
		"a third is lost": func(w *way) { w.deaf = func(t time.Duration) bool { return t/(100*time.Millisecond)%3 == 0 } },
		"late":            func(w *way) { w.late = 200 * time.Millisecond },
		"seldom":          func(w *way) { w.interval = 250 * time.Millisecond },
		"clock is fast":   func(w *way) { w.clock = func(t time.Duration) time.Duration { return t + t/5000 } },
		"clock is slow":   func(w *way) { w.clock = func(t time.Duration) time.Duration { return t - t/5000 } },
		"clock jumps on": func(w *way) {
			w.clock = func(t time.Duration) time.Duration {
				if t > 5*time.Second {
					t += 1000 * time.Hour
				}
				return t
			}
		},
		"clock jumps back": func(w *way) {
			w.clock = func(t time.Duration) time.Duration {
				if t < 5*time.Second {
					t += 1000 * time.Hour
				}
				return t
			}
		},
		"reference time wraps": func(w *way) {
			w.clock = func(t time.Duration) time.Duration { return t + 1<<24*referenceUnit - 11*time.Second }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := defaultWay(stepDown)
			change(&w)
			samples := run(t, w, defaultCamera(), 60*time.Second)
			if got := mean(after(samples, 7*time.Second, 3*time.Second)); got < 0.7*7.5e6 {
				t.Errorf("before the step the target is %.2f Mbit/s", got/1e6)
			}
			if got := mean(after(samples, 12*time.Second, 18*time.Second)); got > 2.1e6 || got < 1.2e6 {
				t.Errorf("2 Mbit/s give %.2f Mbit/s", got/1e6)
			}
			if got := mean(after(samples, 45*time.Second, time.Hour)); got < 0.8*7.5e6 {
				t.Errorf("after the step the target is %.2f Mbit/s", got/1e6)
			}
		})
	}
}

// When nothing comes back any more, less is sent, and not for ever.
func TestEstimatorHearsNothing(t *testing.T) {
	w := defaultWay(constant(8e6))
	w.deaf = func(t time.Duration) bool { return t > 10*time.Second && t < 14*time.Second }
	samples := run(t, w, defaultCamera(), 40*time.Second)
	if got := after(samples, 13900*time.Millisecond, time.Second)[0].target; got > 0.3*7.5e6 {
		t.Errorf("without feedback the target is %.2f Mbit/s", got/1e6)
	}
	if got := mean(after(samples, 25*time.Second, time.Hour)); got < 0.8*7.5e6 {
		t.Errorf("with feedback again the target is %.2f Mbit/s", got/1e6)
	}
}

// After a moment without a network all is as it was, unless the way is another.
func TestEstimatorBearsOutages(t *testing.T) {
	for _, length := range []time.Duration{500 * time.Millisecond, 1200 * time.Millisecond, 2 * time.Second, 4 * time.Second} {
		const from = 10 * time.Second
		to := from + length
		w := defaultWay(constant(20e6))
		w.off = func(t time.Duration) bool { return t >= from && t < to }
		c := defaultCamera()
		samples := run(t, w, c, to+10*time.Second)
		if got := mean(after(samples, to+time.Second, time.Hour)); got < 0.95*c.asked {
			t.Errorf("1 s after an outage of %v the target is %.2f Mbit/s on the mean", length, got/1e6)
		}

		w.rate = steps(20e6, to, 2e6)
		samples = run(t, w, c, to+10*time.Second)
		if at := lastWhere(after(samples, to, 5*time.Second), func(s sample) bool { return s.encoder > 2e6 }); at > to+1500*time.Millisecond {
			t.Errorf("after an outage of %v the encoder is above 2 Mbit/s for %v", length, at-to)
		}

		w.rate = constant(2e6)
		samples = run(t, w, c, to+10*time.Second)
		if got := mean(after(samples, to+time.Second, time.Hour)); got < 0.7*2e6 || got > 2.1e6 {
			t.Errorf("after an outage of %v 2 Mbit/s give %.2f Mbit/s", length, got/1e6)
		}
	}
}

// Another route takes longer, for ever: that is no queue.
func TestEstimatorAcceptsLongerRoute(t *testing.T) {
	w := defaultWay(constant(20e6))
	w.clock = func(t time.Duration) time.Duration {
		if t > 10*time.Second {
			t += 150 * time.Millisecond // all packets arrive later
		}
		return t
	}
	samples := run(t, w, defaultCamera(), 40*time.Second)
	if got := mean(after(samples, 30*time.Second, time.Hour)); got < 0.8*7.5e6 {
		t.Errorf("on a longer route the target is %.2f Mbit/s", got/1e6)
	}
}
