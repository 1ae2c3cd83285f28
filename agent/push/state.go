package push

import (
	"time"

	"github.com/lenscast/lenscast/transport/packet"
)

// State says in one word or two what a push does. The values are what the
// page and the status API show.
//
//	           Run
//	            │
//	            ▼
//	     ┌────────────┐      a receiver       ┌─────────┐  none for 3 s  ┌────────────┐
//	┌───►│ connecting │──────────────────────►│ sending │───────────────►│ no picture │
//	│    └────────────┘                       │         │◄───────────────│            │
//	│       │      │    opened    ┌───────────┐         │   a picture    └────────────┘
//	│       │      └─────────────►│ listening │◄───────►│                   │
//	│       │                     └───────────┘─────────┘                   │
//	│       │                           │  receivers come and go            │
//	│       │ failed                    │ failed  │ failed                  │ failed
//	│       ▼                           ▼         ▼                         │
//	│    ┌─────────┐◄───────────────────────────────────────────────────────┘
//	└────│ waiting │   no pause at all when the connection had held for 5 s
//	     └─────────┘
//
// While sending, a push is interrupted for as long as its [Interruptible] Pusher
// mends the connection. Before Run and after it a push is idle, whatever it was. A State is what
// held when it was asked for: the network may know better already.
type State string

// The states of a push.
const (
	Idle        State = "idle"        // not running
	Connecting  State = "connecting"  // nobody has taken a picture yet
	Listening   State = "listening"   // open, and waits for receivers to come
	Sending     State = "sending"     // pictures go out
	NoPicture   State = "no picture"  // connected, but the camera gives nothing
	Interrupted State = "interrupted" // the receiver is not heard; the connection is being mended
	Waiting     State = "waiting"     // failed: the reason tells; tries again soon
)

// Status is what a push does at one instant.
type Status struct {
	Camera      string
	Destination string // without secrets
	State       State
	Since       time.Time // when State was entered
	Reason      string    // for people: the last failure, empty when there was none since it last worked
	Failures    uint64    // attempts and connections that failed, since the start
	Bitrate     float64   // bit/s sent, of the last second
	packet.Stats
}
