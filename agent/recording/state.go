package recording

import (
	"time"

	"github.com/lenscast/lenscast/agent/recording/archive"
)

// State is what a recorder does.
//
//	           Start                 IDR                     Stop
//	standby ─────────► waiting ─────────────► recording ─────────► standby
//	                    ▲ ▲ ▲                  │ │ │
//	                    │ │ └─ source is silent┘ │ │
//	   there is room ── │ └──── no room ◄── full ┘ │
//	                    └── after a while ◄── failed
//
// Full and failed leave by themselves: the first as soon as there is room,
// the second after a back-off. A snapshot of the state may be old already.
type State string

// The states.
const (
	Standby   State = "standby"   // nobody wants a recording
	Waiting   State = "waiting"   // wanted, but no picture to begin with has come
	Recording State = "recording" // pictures are written
	Full      State = "disk full" // wanted, but there is no room
	Failed    State = "failed"    // wanted, but writing failed
)

// Status describes a recorder.
type Status struct {
	State  State     `json:"state"`
	Reason string    `json:"reason,omitempty"` // why it is full or failed
	Since  time.Time `json:"since"`
	Wanted bool      `json:"wanted"` // false before Start and after Stop
	// PreRoll is how much Start would have in front now.
	PreRoll archive.Seconds `json:"preroll_seconds"`
}
