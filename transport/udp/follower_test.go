package udp

import (
	"testing"
	"time"

	"github.com/lenscast/lenscast/transport/packet"
)

// affordReader is a reader that remembers what it was told.
type affordReader struct {
	Reader
	told []int
	late bool
}

func (r *affordReader) Afford(bitsPerSecond int) { r.told = append(r.told, bitsPerSecond) }
func (r *affordReader) Late() bool               { return r.late }

// A receiver of which half is lost while 2 of 8 Mbit/s arrive is followed, and
// what follows from its reports is shown beside them.
func TestFollowerTellsReaderAndFlow(t *testing.T) {
	r := &affordReader{}
	f := newFollower(&flow{}, r)
	at, sent := time.Unix(0, 0), uint64(0)
	hear := func(received, loss float64) packet.Feedback {
		at = at.Add(200 * time.Millisecond)
		sent += 8_000_000 / 8 / 5
		return f.hear(packet.Feedback{At: at, Loss: loss, RTT: 20 * time.Millisecond, ReceiveRate: received}, sent)
	}
	for range 10 {
		if got := hear(8e6, 0); got.Affordable != 0 || len(r.told) > 0 {
			t.Fatalf("a good way is said to carry %d bit/s", got.Affordable)
		}
	}
	got := hear(2e6, 0.75)
	if got.Affordable < 1_000_000 || got.Affordable > 2_000_000 {
		t.Errorf("a way that carries 2 Mbit/s is said to carry %d", got.Affordable)
	}
	if len(r.told) != 1 || r.told[0] != got.Affordable || f.flow.affordable.Load() != int64(got.Affordable) {
		t.Errorf("the reader was told %v, the flow %d", r.told, f.flow.affordable.Load())
	}
	if got.LeavesOut {
		t.Error("pictures are said to be left out")
	}
	r.late = true
	if !hear(2e6, 0.75).LeavesOut {
		t.Error("nothing says that pictures are left out")
	}
}
