package packet

import "time"

// Feedback is what a receiver told about the way to it.
type Feedback struct {
	At   time.Time     // when it arrived; zero before the first
	Loss float64       // share of packets that the network lost lately, 0 to 1
	RTT  time.Duration // 0 when not known

	// Jitter is the variation of the packets' travel times (RFC 3550
	// section 6.4.1), 0 when not known.
	Jitter time.Duration

	// ReceiveRate is what arrived, in bit/s, 0 when not known.
	ReceiveRate float64

	// Backlog is how long the oldest packet has waited for its
	// acknowledgement, 0 when packets are not acknowledged.
	Backlog time.Duration

	// Affordable is what the way carries in bit/s, as concluded from all
	// reports, 0 while it was never seen to be full.
	Affordable int

	// LeavesOut says that pictures are left out because that is too little.
	LeavesOut bool
}

// Stats is what a sender knows of its own work. The counters never go back.
type Stats struct {
	Receivers       int // that get the stream now
	Pictures        uint64
	Packets         uint64
	Bytes           uint64 // of UDP payload
	DroppedPictures uint64 // not sent, so that the next one shown is an IDR
	LastPicture     time.Time
	Feedback        Feedback // the last, of any receiver
}
