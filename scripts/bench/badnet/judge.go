package main

import (
	"slices"
	"sync"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

// freeze is the longest time without a new picture that nobody minds.
const freeze = 200 * time.Millisecond

// judge takes the pictures that arrive, and says what a viewer saw of them.
type judge struct {
	source *source

	mu      sync.Mutex
	arrived map[int]arrival // by number
}

type arrival struct {
	at   time.Time
	size int // bytes
}

func newJudge(s *source) *judge { return &judge{source: s, arrived: make(map[int]arrival)} }

// picture takes the NAL units of a picture whose last byte came at the given
// time. What is not, bit for bit, what the camera sent counts as lost.
func (j *judge) picture(nalus [][]byte, at time.Time) {
	n := numberOf(nalus)
	if n < 0 || sumOf(nalus) != j.source.sums[n%len(j.source.sums)] {
		return
	}
	size := 0
	for _, nalu := range nalus {
		size += len(nalu)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, again := j.arrived[n]; !again {
		j.arrived[n] = arrival{at, size}
	}
}

// count returns how many pictures have arrived intact.
func (j *judge) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.arrived)
}

// keys returns how many of them are keyframes.
func (j *judge) keys() (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for number := range j.arrived {
		if j.source.clip[number%len(j.source.clip)].Key {
			n++
		}
	}
	return n
}

// forget begins anew.
func (j *judge) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	clear(j.arrived)
}

// verdict is what a viewer saw.
type verdict struct {
	rate        float64 // bit/s of pictures that could be shown
	freezes     int
	frozen      time.Duration
	p50, p99    time.Duration // from the camera to here; 0 without a picture
	keys        int
	damagedKeys int // of these, also those that never came
}

// verdict judges the pictures that were sent in a stretch of time. A picture
// can be shown when it is intact and so are all before it from the last
// keyframe on.
func (j *judge) verdict(from, to time.Time) (v verdict) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.source.mu.Lock()
	defer j.source.mu.Unlock()
	var latencies []time.Duration
	bytes, whole := 0, false
	last := time.Time{} // when the last picture could be shown
	still := func(until time.Time) {
		if gap := until.Sub(last); !last.IsZero() && gap >= freeze {
			v.freezes++
			v.frozen += gap
		}
	}
	for n, sent := range j.source.sent {
		a, intact := j.arrived[n]
		key := j.source.clip[n%len(j.source.clip)].Key
		whole = intact && (whole || key)
		if sent.Before(from) || sent.After(to) {
			continue
		}
		if last.IsZero() {
			last = sent.Add(j.usual(n))
		}
		if key {
			v.keys++
			if !intact {
				v.damagedKeys++
			}
		}
		if whole {
			still(a.at)
			last = a.at
			bytes += a.size
			latencies = append(latencies, a.at.Sub(sent))
		}
	}
	still(to)
	v.rate = float64(bytes) * 8 / to.Sub(from).Seconds()
	if slices.Sort(latencies); len(latencies) > 0 {
		v.p50, v.p99 = latencies[len(latencies)/2], latencies[len(latencies)*99/100]
	}
	return v
}

// usual returns the latency of the last picture before the nth that arrived.
func (j *judge) usual(n int) time.Duration {
	for ; n >= 0; n-- {
		if a, ok := j.arrived[n]; ok {
			return a.at.Sub(j.source.sent[n])
		}
	}
	return 0
}

// split returns the NAL units of a byte stream, none when there are too many.
func split(stream []byte) [][]byte {
	nalus, err := h264.SplitAnnexB(nil, stream)
	if err != nil {
		return nil
	}
	return nalus
}
