package stream

import (
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

// Stats describes what a stream carries. Rates are of the last few seconds.
type Stats struct {
	Width, Height  int           // pixels, 0 before the first IDR
	Profile        string        // such as "High", empty before the first IDR
	FPS            float64       // pictures per second
	Bitrate        float64       // bit/s
	GOP            time.Duration // between the last two IDRs, 0 before the second
	Last           time.Time     // arrival of the newest picture, zero without one
	Pictures       uint64        // since the stream was made
	Keyframes      uint64        // IDRs among them
	Bytes          uint64        // in their NAL units
	KeyframeWishes uint64        // asked of the source
	Readers        int

	// What the source was asked for and is told now, in bit/s, both 0 when
	// it can't follow its readers; and the reader that it follows, empty when
	// all afford what was asked for.
	Asked, Told int
	LimitedBy   string
}

// meterSlots pictures are looked back on for the rates: 2 s at 60 fps.
const meterSlots = 120

// meter measures a stream as it is published. Arrival times decide, so that a
// source with a wrong clock is not believed.
type meter struct {
	arrived [meterSlots]time.Time
	sizes   [meterSlots]int
	next, n int

	total   Stats
	sps     []byte
	format  h264.Format // that sps tells
	lastKey time.Duration
	haveKey bool
}

func (m *meter) add(au *h264.AccessUnit, size int) {
	now := time.Now()
	m.arrived[m.next], m.sizes[m.next] = now, size
	m.next = (m.next + 1) % meterSlots
	m.n = min(m.n+1, meterSlots)

	m.total.Last = now
	m.total.Pictures++
	m.total.Bytes += uint64(size)
	if !au.Key {
		return
	}
	m.total.Keyframes++
	if m.haveKey {
		m.total.GOP = au.PTS - m.lastKey
	}
	m.lastKey, m.haveKey = au.PTS, true
	if sps, _ := au.ParameterSets(); len(sps) > 0 && string(sps[0]) != string(m.sps) {
		m.sps = sps[0]
		if f, err := h264.ParseFormat(sps[0]); err == nil {
			m.format = f
			m.total.Width, m.total.Height, m.total.Profile = f.Width, f.Height, f.Profile
		}
	}
}

// reset forgets the rates, not the totals.
func (m *meter) reset() {
	m.n, m.next, m.haveKey = 0, 0, false
	m.total.GOP = 0
}

func (m *meter) stats(now time.Time) Stats {
	st := m.total
	if m.n < 2 {
		return st
	}
	oldest := (m.next - m.n + meterSlots) % meterSlots
	newest := (m.next - 1 + meterSlots) % meterSlots
	span := m.arrived[newest].Sub(m.arrived[oldest])
	// A stream that has stopped slows down and then stands at 0.
	if idle := now.Sub(m.arrived[newest]); idle > 3*time.Second {
		return st
	} else if gap := span / time.Duration(m.n-1); idle > 2*gap {
		span += idle
	}
	if span <= 0 {
		return st
	}
	bytes := 0
	for i := 1; i < m.n; i++ { // the oldest only marks the beginning
		bytes += m.sizes[(oldest+i)%meterSlots]
	}
	st.FPS = float64(m.n-1) / span.Seconds()
	st.Bitrate = float64(bytes) * 8 / span.Seconds()
	return st
}
