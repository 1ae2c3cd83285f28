package congestion

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
)

// way is a simulated way to a receiver, in virtual time: a queue in front of a
// bottleneck, random loss and jitter, and feedback that comes back.
type way struct {
	rate     func(t time.Duration) float64 // bit/s that it carries
	cross    func(t time.Duration) float64 // bit/s that others send
	buffer   time.Duration                 // of the queue, at the rate of the moment
	delay    time.Duration                 // one way, without the queue
	jitter   time.Duration                 // at most
	loss     float64
	stall    func(t time.Duration) time.Duration // what arrives then waits for so long
	reorder  float64                             // share of packets that arrive 20 ms late
	clock    func(t time.Duration) time.Duration // of the receiver
	deaf     func(t time.Duration) bool          // feedback is lost
	off      func(t time.Duration) bool          // all is lost, both ways
	interval time.Duration                       // between feedback
	late     time.Duration                       // more that feedback takes
}

// camera is what sends: an encoder that follows the target after a while.
type camera struct {
	asked   float64                       // bit/s
	makes   func(t time.Duration) float64 // share of what it may that it makes, nil: all
	fps     float64
	reacts  time.Duration
	keySize float64 // times a mean picture, every 2 s
}

// sample is one instant of a run.
type sample struct {
	at              time.Duration
	target, encoder float64       // bit/s
	queue           time.Duration // in the network and before it
}

const (
	step = time.Millisecond
	late = 400 * time.Millisecond // what waits longer at the sender is not sent
)

// run simulates, and returns a sample for each 10 ms.
func run(t *testing.T, w way, c camera, length time.Duration) []sample {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	e := NewEstimator()
	recorder := twcc.NewRecorder(1)
	epoch := time.Unix(1_700_000_000, 0)
	type arrival struct {
		at     time.Duration
		number uint16
	}
	type feedback struct {
		at  time.Duration
		raw []byte
	}
	var (
		number    uint16
		arrivals  []arrival
		feedbacks []feedback
		backlog   float64 // bytes in the queue
		waiting   float64 // bytes that the pacer holds
		credit    float64
		encoder   float64   // bit/s
		wishes    []float64 // targets of the last steps
		nextFrame time.Duration
		nextKey   time.Duration
		nextBack  = w.interval
		samples   []sample
	)
	for now := time.Duration(0); now < length; now += step {
		rate := w.rate(now)
		target := min(float64(e.Target()), c.asked)
		wishes = append(wishes, target)
		encoder = wishes[max(0, len(wishes)-1-int(c.reacts/step))]
		if c.makes != nil {
			encoder *= c.makes(now)
		}
		if now >= nextFrame {
			nextFrame += time.Duration(float64(time.Second) / c.fps)
			size := encoder / 8 / c.fps
			if c.keySize > 0 && now >= nextKey {
				nextKey += 2 * time.Second
				size *= c.keySize
			}
			waiting += size
			if waiting*8/target > late.Seconds() {
				waiting = 0 // what is late is left out
			}
		}
		// Pacing, as the sender does it.
		credit = min(credit+max(1.2*target, waiting*8/0.3)/8*step.Seconds(), 1200)
		for waiting > 0 && credit > 0 {
			size := min(waiting, 1200)
			waiting -= size
			credit -= size
			e.Sent(number, int(size), epoch.Add(now))
			if backlog+size <= rate/8*w.buffer.Seconds()+1500 {
				backlog += size
				if random.Float64() >= w.loss && (w.off == nil || !w.off(now)) {
					at := now + w.delay + time.Duration(backlog*8/rate*float64(time.Second))
					at += time.Duration(random.Float64() * float64(w.jitter))
					if random.Float64() < w.reorder {
						at += 20 * time.Millisecond
					}
					if w.stall != nil {
						at += w.stall(at)
					}
					arrivals = append(arrivals, arrival{at, number})
				}
			}
			number++
		}
		if w.cross != nil {
			backlog = min(backlog+w.cross(now)/8*step.Seconds(), rate/8*w.buffer.Seconds())
		}
		backlog = max(0, backlog-rate/8*step.Seconds())

		slices.SortStableFunc(arrivals, func(a, b arrival) int { return int(a.at - b.at) })
		for len(arrivals) > 0 && arrivals[0].at <= now {
			at := arrivals[0].at
			if w.clock != nil {
				at = w.clock(at)
			}
			recorder.Record(1, arrivals[0].number, at.Microseconds())
			arrivals = arrivals[1:]
		}
		if now >= nextBack {
			nextBack += w.interval
			for _, p := range recorder.BuildFeedbackPacket() {
				raw, err := p.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				if (w.deaf == nil || !w.deaf(now)) && (w.off == nil || !w.off(now)) {
					feedbacks = append(feedbacks, feedback{now + w.delay + w.late, raw})
				}
			}
		}
		for len(feedbacks) > 0 && feedbacks[0].at <= now {
			if _, err := e.Feedback(feedbacks[0].raw, epoch.Add(now)); err != nil {
				t.Fatalf("at %v: %v", now, err)
			}
			feedbacks = feedbacks[1:]
		}
		if now%(10*time.Millisecond) == 0 {
			queue := time.Duration((backlog*8/rate + waiting*8/max(target, 1)) * float64(time.Second))
			samples = append(samples, sample{now, target, encoder, queue})
		}
	}
	if testing.Verbose() {
		for i, s := range samples {
			if i%20 == 0 {
				t.Logf("%6.2fs target %5.2f encoder %5.2f queue %v", s.at.Seconds(), s.target/1e6, s.encoder/1e6, s.queue.Round(time.Millisecond))
			}
		}
	}
	return samples
}

func constant(v float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return v }
}

// steps returns a function that is first, and then the values from the times on.
func steps(first float64, at ...any) func(time.Duration) float64 {
	return func(t time.Duration) float64 {
		v := first
		for i := 0; i < len(at); i += 2 {
			if t >= at[i].(time.Duration) {
				v = at[i+1].(float64)
			}
		}
		return v
	}
}

func defaultWay(rate func(time.Duration) float64) way {
	return way{rate: rate, buffer: 250 * time.Millisecond, delay: 20 * time.Millisecond, jitter: 2 * time.Millisecond, interval: 100 * time.Millisecond}
}

func defaultCamera() camera {
	return camera{asked: 7.5e6, fps: 30, reacts: 100 * time.Millisecond, keySize: 4}
}
