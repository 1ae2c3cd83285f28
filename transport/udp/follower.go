package udp

import (
	"sync"
	"time"

	"github.com/lenscast/lenscast/transport/congestion"
	"github.com/lenscast/lenscast/transport/packet"
)

// lossTime is what the share of lost packets is the mean of: of the few that are
// sent between two reports, chance loses many or none.
const lossTime = time.Second

// follower makes a flow, and by its reader the camera, follow the network to
// one receiver.
type follower struct {
	flow     *flow
	reader   Reader
	estimate *congestion.Reports

	mu   sync.Mutex // of what follows: reports come to both ports of RTP
	told time.Time  // when the receiver told something last
	loss float64
}

func newFollower(f *flow, r Reader) *follower {
	return &follower{flow: f, reader: r, estimate: congestion.NewReports(), told: time.Now()}
}

// hear takes what the receiver told and the bytes sent to it until then, and
// adds what follows from it to what was told.
func (f *follower) hear(told packet.Feedback, sent uint64) packet.Feedback {
	mean := told
	mean.Loss = f.meanLoss(told)
	f.estimate.Feedback(mean, sent)
	if target := f.estimate.Target(); target < congestion.Unlimited {
		told.Affordable = target
	}
	if f.flow.affordable.Swap(int64(told.Affordable)) != int64(told.Affordable) {
		f.reader.Afford(told.Affordable)
	}
	if l, ok := f.reader.(interface{ Late() bool }); ok {
		told.LeavesOut = l.Late()
	}
	return told
}

// meanLoss adds what was told to the mean, and returns that.
func (f *follower) meanLoss(told packet.Feedback) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	elapsed := min(max(told.At.Sub(f.told), 0), lossTime)
	f.loss += (told.Loss - f.loss) * elapsed.Seconds() / lossTime.Seconds()
	f.told = told.At
	return f.loss
}
