package congestion

import "time"

const (
	meterSlots = 256
	meterGrain = 2 * time.Millisecond
)

// meter measures a rate over the last moments.
type meter struct {
	slots [meterSlots]slot
	next  int
	n     int
}

type slot struct {
	at    time.Duration // of the first byte
	bytes int
}

func (m *meter) add(at time.Duration, bytes int) {
	if m.n > 0 {
		if newest := m.at(0); at-newest.at < meterGrain {
			newest.bytes += bytes // a late one counts as of now
			return
		}
	}
	m.slots[m.next] = slot{at, bytes}
	m.next = (m.next + 1) % meterSlots
	m.n = min(m.n+1, meterSlots)
}

// rate returns bit/s over the last window, 0 when less than half of it is
// known. What came first only marks the beginning.
func (m *meter) rate(window time.Duration) float64 {
	if m.n < 2 {
		return 0
	}
	newest, bytes := m.at(0).at, 0
	from := newest
	for i := range m.n {
		s := m.at(i)
		from = s.at
		if newest-from >= window || i == m.n-1 {
			break
		}
		bytes += s.bytes
	}
	span := newest - from
	if span < window/2 {
		return 0
	}
	return float64(bytes) * 8 / span.Seconds()
}

// reset forgets everything.
func (m *meter) reset() { m.n, m.next = 0, 0 }

func (m *meter) at(back int) *slot {
	return &m.slots[(m.next-1-back+2*meterSlots)%meterSlots]
}

// busy measures what the way carries while it is full: from one packet to the
// next, where the next had to wait.
type busy struct {
	slots [busySlots]busySlot
	next  int
	n     int
	last  time.Duration // arrival of the newest packet
	hole  bool          // other packets arrived since
}

type busySlot struct {
	at    time.Duration // of its first packet
	time  time.Duration // that the way was full
	bytes int
}

const (
	busySlots = 32
	busyGrain = 20 * time.Millisecond

	// leastBusy is how long the way must have been full for the rate to mean
	// anything.
	leastBusy = 30 * time.Millisecond
)

func (b *busy) add(at time.Duration, bytes int, waited bool) {
	passed, hole := at-b.last, b.hole
	b.last, b.hole = max(b.last, at), false
	if !waited || hole || passed < 0 || passed > jump {
		return
	}
	if b.n == 0 || at-b.at(0).at >= busyGrain {
		b.slots[b.next] = busySlot{at: at}
		b.next = (b.next + 1) % busySlots
		b.n = min(b.n+1, busySlots)
	}
	s := b.at(0)
	s.time += passed
	s.bytes += bytes
}

// rate returns bit/s over the last window, 0 when the way was hardly full in it.
func (b *busy) rate(window time.Duration) float64 {
	var full time.Duration
	bytes := 0
	for i := 0; i < b.n && b.last-b.at(i).at < window; i++ {
		full += b.at(i).time
		bytes += b.at(i).bytes
	}
	if full < leastBusy {
		return 0
	}
	return float64(bytes) * 8 / full.Seconds()
}

// skip tells that it is not known what arrived before the next packet.
func (b *busy) skip() { b.hole = true }

func (b *busy) reset() { *b = busy{} }

func (b *busy) at(back int) *busySlot {
	return &b.slots[(b.next-1-back+2*busySlots)%busySlots]
}
