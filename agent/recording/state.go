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

// Start begins a recording, if there is none, with what the pre-roll holds.
func (r *Recorder) Start() { r.want(true) }

// Stop ends the recording, if there is one.
func (r *Recorder) Stop() { r.want(false) }

func (r *Recorder) want(on bool) {
	r.mu.Lock()
	r.status.Wanted = on
	r.mu.Unlock()
	r.nudge()
}

// nudge makes Run look around.
func (r *Recorder) nudge() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.poke != nil {
		r.poke()
	}
}

// Status returns what the recorder does now.
func (r *Recorder) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

func (r *Recorder) wanted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status.Wanted
}

// enter changes the state. Changes for the worse and back are logged.
func (r *Recorder) enter(s State, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reason := ""
	if why != nil {
		reason = why.Error()
	}
	if r.status.State == s {
		r.status.Reason = reason
		return
	}
	log := r.p.Log.With("camera", r.p.Camera, "state", s)
	if why != nil {
		log.Error("recording stopped; it goes on by itself", "error", why)
	} else if r.status.State == Full || r.status.State == Failed {
		log.Info("recording goes on")
	}
	r.status.State, r.status.Reason, r.status.Since = s, reason, time.Now()
}

// remember notes what somebody wants where a power cut leaves it.
func (r *Recorder) remember() {
	wanted := r.wanted()
	if !r.p.Manual || wanted == r.p.Archive.Wanted(r.p.Camera) {
		return
	}
	if err := r.p.Archive.SetWanted(r.p.Camera, wanted); err != nil {
		r.p.Log.Warn("after a power cut it will not be known whether to record", "camera", r.p.Camera, "error", err)
	}
}
