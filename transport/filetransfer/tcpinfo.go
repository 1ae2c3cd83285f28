package filetransfer

import (
	"fmt"
	"time"
)

// TCPInfo is what the kernel knows of a connection, from the sender's side.
type TCPInfo struct {
	State         string // such as ESTABLISHED
	Age           time.Duration
	RTT, MinRTT   time.Duration // smoothed round trip, and the least one seen
	Window        int           // congestion window, in segments
	SegmentBytes  int           // what a segment carries
	Sent          uint64        // bytes, those sent again included
	Resent        uint64        // bytes sent again
	Acked         uint64        // bytes that the receiver has acknowledged
	Segments      uint64        // received, nearly all of them acknowledgements
	Unsent        int           // bytes waiting in this side's socket
	DeliveryRate  int64         // bit/s, the newest measurement
	PacingRate    int64         // bit/s
	Busy          time.Duration // with data to send or unacknowledged
	WaitReceiver  time.Duration // of Busy: the receiver's window was full
	WaitSendSpace time.Duration // of Busy: this side's socket buffer was full
}

// Limit says in words what the connection's speed is limited by, over its life.
func (i TCPInfo) Limit() string {
	switch {
	case i.Age < 500*time.Millisecond || i.Sent == 0:
		return "too early to tell"
	case i.Busy < i.Age/2:
		return "this side is the limit: reading the file, or the rate it may use"
	case i.WaitReceiver > i.Busy/3:
		return "the receiver is the limit: its disk or its processor"
	case i.Resent > i.Sent/50:
		return fmt.Sprintf("the network is the limit: it loses %.1f %%", 100*float64(i.Resent)/float64(i.Sent))
	case i.WaitSendSpace > i.Busy/3:
		return "this side's socket buffer is the limit: the path is longer than it allows for"
	case i.MinRTT > 0 && i.RTT > 4*i.MinRTT && i.RTT > i.MinRTT+20*time.Millisecond:
		return fmt.Sprintf("the network is the limit: packets wait %v in its queues", (i.RTT - i.MinRTT).Round(time.Millisecond))
	default:
		return "the network is the limit"
	}
}

// String returns the figures in one line, and what limits the connection.
func (i TCPInfo) String() string {
	return fmt.Sprintf("%s, round trip %v (least %v), window %d × %d B, sent again %d of %d B, %.1f Mbit/s: %s",
		i.State, i.RTT.Round(10*time.Microsecond), i.MinRTT.Round(10*time.Microsecond), i.Window, i.SegmentBytes,
		i.Resent, i.Sent, float64(i.DeliveryRate)/1e6, i.Limit())
}
