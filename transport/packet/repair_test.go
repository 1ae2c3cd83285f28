package packet

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// repaired is a simulated stream of 5 Mbit/s, in virtual time, to a receiver that
// asks for what it misses as often as it has time for.
type repaired struct {
	loss     float64 // in both directions
	heard    bool    // nothing is lost on the way back
	way      time.Duration
	patience time.Duration // of the receiver
}

const (
	picturePackets = 18
	pictureBytes   = picturePackets * 1160
	pictureTime    = 33 * time.Millisecond
)

// run runs for so many pictures. It returns how many packets never came in time,
// and how many were sent again, both as shares of all.
func (s repaired) run(t *testing.T, pictures int) (late, extra float64) {
	synctest.Test(t, func(t *testing.T) {
		type event struct {
			at     time.Time
			number uint16
		}
		var (
			random   = rand.New(rand.NewPCG(1, 2))
			arrives  []event // at the receiver
			asks     []event // at the sender
			missing  = map[uint16]time.Time{}
			asked    = map[uint16]time.Time{}
			next     uint16                    // that the receiver has not seen
			again    = make(chan uint16, 1000) // packets that are sent again
			resent   int
			tooLate  int
			sent     uint16
			fly      = func(e []event, number uint16) []event { return append(e, event{time.Now().Add(s.way), number}) }
			survives = func() bool { return random.Float64() >= s.loss }
			landed   = func(e []event) int {
				return slices.IndexFunc(append(e, event{at: time.Now().Add(time.Hour)}), func(e event) bool { return e.at.After(time.Now()) })
			}
		)
		r := NewRepair(func(numbers []uint16) {
			for _, n := range numbers {
				again <- n
			}
		})
		defer r.Close()
		r.RoundTrip(2 * s.way)
		begun := time.Now()
		for ms := 0; ; ms++ {
			time.Sleep(time.Until(begun.Add(time.Duration(ms) * time.Millisecond)))
			synctest.Wait()
			now := time.Now()
			if pictures == 0 {
				break
			}
			if now.Sub(begun) >= time.Duration(sent/picturePackets+1)*pictureTime || ms == 0 {
				pictures--
				for range picturePackets {
					if survives() {
						arrives = fly(arrives, sent)
					}
					sent++
				}
				r.Sent(picturePackets, pictureBytes, now)
			}
			for len(again) > 0 {
				number := <-again
				if resent++; survives() {
					arrives = fly(arrives, number)
				}
			}
			n := landed(arrives)
			for _, e := range arrives[:n] {
				delete(missing, e.number)
				for ; int16(e.number-next) >= 0; next++ {
					if next != e.number {
						missing[next] = now
					}
				}
			}
			arrives = arrives[n:]
			for number, since := range missing {
				if now.Sub(since) > s.patience {
					tooLate++
					delete(missing, number)
				} else if last, ok := asked[number]; !ok || now.Sub(last) > 2*s.way+5*time.Millisecond {
					asked[number] = now
					if s.heard || survives() {
						asks = fly(asks, number)
					}
				}
			}
			n = landed(asks)
			for _, e := range asks[:n] {
				r.Asked([]uint16{e.number}, now)
			}
			asks = asks[n:]
		}
		late, extra = float64(tooLate)/float64(sent), float64(resent)/float64(sent)
	})
	return late, extra
}

// A receiver that has time for three tries gets nearly everything, however much is
// lost, and what that takes is bounded.
func TestRepairOfLossyWays(t *testing.T) {
	for _, tt := range []struct {
		loss        float64
		late, again float64 // at most
	}{
		{0, 0, 0},
		{0.01, 0, 0.012},
		{0.05, 0.0001, 0.12},
		{0.10, 0.0003, 0.27},
		{0.20, 0.005, 0.45},
	} {
		s := repaired{loss: tt.loss, way: 20 * time.Millisecond, patience: 160 * time.Millisecond}
		late, again := s.run(t, 3600)
		t.Logf("of a loss of %.0f %% remain %.3f %%, and %.1f %% are sent again", 100*tt.loss, 100*late, 100*again)
		if late > tt.late || again > tt.again {
			t.Errorf("at most %.3f %% and %.1f %% are expected", 100*tt.late, 100*tt.again)
		}
	}
}

// Where a round trip is a freeze, the first answer brings nearly everything.
func TestRepairOfFarWays(t *testing.T) {
	for _, tt := range []struct {
		loss        float64
		late, again float64 // at most
	}{
		{0, 0, 0},
		{0.01, 0.00003, 0.025},
		{0.05, 0.0003, 0.13},
		{0.10, 0.0003, 0.33},
	} {
		s := repaired{loss: tt.loss, heard: true, way: 100 * time.Millisecond, patience: 250 * time.Millisecond}
		late, again := s.run(t, 3600)
		t.Logf("of a loss of %.0f %% remain %.3f %% after the first answer, and %.1f %% are sent again", 100*tt.loss, 100*late, 100*again)
		if late > tt.late || again > tt.again {
			t.Errorf("at most %.3f %% and %.1f %% are expected", 100*tt.late, 100*tt.again)
		}
	}
}

// A receiver that asks for everything, or again and again, gets a bounded part of
// it, and once: what a full way loses is not to be sent several times.
func TestRepairIsBounded(t *testing.T) {
	const size = 1000 // bytes
	for name, tt := range map[string]struct {
		limit int
		most  int // packets
	}{
		"wide":    {0, repairBurst/size + copyBurst},
		"narrow":  {2_000_000, int(limitedRepair*(limitedPeriod.Seconds()+0.1)*2e6/8) / size},
		"limited": {100_000_000, repairMemory * mostCopies},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				times := map[uint16]int{}
				sum := 0
				r := NewRepair(func(numbers []uint16) {
					for _, n := range numbers {
						times[n]++
						sum++
					}
				})
				defer r.Close()
				var all []uint16
				for i := range repairMemory {
					all = append(all, uint16(i))
				}
				for range 30 {
					r.Sent(100, 100*size, time.Now())
					time.Sleep(100 * time.Millisecond)
				}
				r.Limit(tt.limit)
				r.RoundTrip(200 * time.Millisecond)
				for range 10 { // more often than the round trip takes
					r.Asked(all, time.Now())
					time.Sleep(10 * time.Millisecond)
				}
				time.Sleep(time.Second)
				r.Close()
				if sum == 0 || sum > tt.most {
					t.Errorf("%d packets are sent again, want %d at most", sum, tt.most)
				}
				once := tt.limit == 2_000_000
				for n, times := range times {
					if times > mostCopies || once && times > 1 {
						t.Fatalf("packet %d is sent again %d times", n, times)
					}
				}
				before := sum
				r.Asked(all, time.Now())
				if time.Sleep(time.Second); sum != before {
					t.Error("something is sent after Close")
				}
			})
		})
	}
}

// What the sender finds out by itself is sent again, if there is room on the way.
func TestRepairOfWhatNobodyAskedFor(t *testing.T) {
	for limit, want := range map[int]int{0: 1, 1_000_000: 0, 10_000_000: 1} {
		n := 0
		r := NewRepair(func(numbers []uint16) { n += len(numbers) })
		now := time.Now()
		for range 20 {
			r.Sent(100, 50_000, now) // 4 Mbit/s
			now = now.Add(100 * time.Millisecond)
		}
		r.Limit(limit)
		r.Missed([]uint16{7}, now)
		if r.Close(); n != want {
			t.Errorf("on a way of %d bit/s %d packets are sent again, want %d", limit, n, want)
		}
	}
}
