package udp

import (
	"github.com/lenscast/lenscast/transport/congestion"
	"github.com/lenscast/lenscast/transport/packet"
)

// follower makes a flow, and by its reader the camera, follow the network to
// one receiver.
type follower struct {
	flow     *flow
	reader   Reader
	estimate *congestion.Reports
}

func newFollower(f *flow, r Reader) *follower {
	return &follower{flow: f, reader: r, estimate: congestion.NewReports()}
}

// hear takes what the receiver told and the bytes sent to it until then, and
// adds what follows from it to what was told.
func (f *follower) hear(told packet.Feedback, sent uint64) packet.Feedback {
	f.estimate.Feedback(told, sent)
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
