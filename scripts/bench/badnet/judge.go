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
	camera  camera
	playout time.Duration // pictures are shown that long after they were sent, at least

	mu      sync.Mutex
	arrived map[uint64]arrival // by the picture's id
}

type arrival struct {
	at   time.Time
	size int // bytes
}

func newJudge(c camera) *judge { return &judge{camera: c, arrived: make(map[uint64]arrival)} }

// picture takes the NAL units of a picture whose last byte came at the given
// time. What is not, bit for bit, what the camera sent counts as lost.
func (j *judge) picture(nalus [][]byte, at time.Time) {
	id, ok := j.camera.identify(nalus)
	if !ok {
		return
	}
	size := 0
	for _, nalu := range nalus {
		size += len(nalu)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, again := j.arrived[id]; !again {
		j.arrived[id] = arrival{at, size}
	}
}

// count returns how many pictures have arrived intact, and how many of them
// are keyframes.
func (j *judge) count() (pictures, keys int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.camera.all() {
		if _, ok := j.arrived[s.id]; ok {
			pictures++
			if s.key {
				keys++
			}
		}
	}
	return pictures, keys
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
	pictures := j.camera.all()
	var latencies []time.Duration
	bytes, whole := 0, false
	last := time.Time{} // when the last picture could be shown
	still := func(until time.Time) {
		if gap := until.Sub(last); !last.IsZero() && gap >= freeze {
			v.freezes++
			v.frozen += gap
		}
	}
	var usual time.Duration // latency of the last picture that arrived
	for _, p := range pictures {
		a, intact := j.arrived[p.id]
		whole = intact && (whole || p.key)
		if intact {
			usual = a.at.Sub(p.at)
		}
		if p.at.Before(from) || p.at.After(to) {
			continue
		}
		if last.IsZero() {
			last = p.at.Add(max(usual, j.playout))
		}
		if p.key {
			v.keys++
			if !intact {
				v.damagedKeys++
			}
		}
		if whole {
			shown := later(a.at, p.at.Add(j.playout))
			still(shown)
			last = shown
			bytes += a.size
			latencies = append(latencies, shown.Sub(p.at))
		}
	}
	still(to)
	v.rate = float64(bytes) * 8 / to.Sub(from).Seconds()
	if slices.Sort(latencies); len(latencies) > 0 {
		v.p50, v.p99 = latencies[len(latencies)/2], latencies[len(latencies)*99/100]
	}
	return v
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// split returns the NAL units of a byte stream, none when there are too many.
func split(stream []byte) [][]byte {
	nalus, err := h264.SplitAnnexB(nil, stream)
	if err != nil {
		return nil
	}
	return nalus
}
