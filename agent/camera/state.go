package camera

import (
	"errors"
	"time"

	"github.com/lenscast/lenscast/capture"
	"github.com/lenscast/lenscast/capture/h264"
)

// State says in one word or two what a camera does. The values are what the
// viewer page and the status API show.
//
//	               ┌─────────┐
//	Run ──────────►│ opening │◄───── opened again ─────┐
//	               └─────────┘                         │
//	     first picture │    │ quiet or ended            │
//	                   ▼    ▼                           │
//	           ┌──────┐ ◄── picture ── ┌─────────────────────────────┐
//	           │ live │                │ no device  no cable         │
//	           └──────┘ ── quiet or ──►│ no signal  unsupported      │
//	                       ended       │ unplugged  asleep    failed │
//	                                   └─────────────────────────────┘
//	                                     │  ▲ quiet or ended, with
//	                                     └──┘ another reason
//
// Quiet: the source runs, but told of trouble or made no picture for 3 s.
// Ended: its Run returned. It is run again after a pause, and leaves the right
// side when it is open again, not before: a camera that isn't plugged in stays
// "no device" and does not flicker.
//
// A source that was live, then made no picture for 15 s and told of no
// trouble, is stopped, and so ends.
type State string

// The states of a camera.
const (
	Opening     State = "opening"     // no picture yet, and no reason to worry
	Live        State = "live"        // pictures come
	NoDevice    State = "no device"   // nothing is plugged in
	NoCable     State = "no cable"    // the input has no cable
	NoSignal    State = "no signal"   // connected, but no picture comes
	Unsupported State = "unsupported" // what comes can't be shown
	Unplugged   State = "unplugged"   // it was there and has gone
	Asleep      State = "asleep"      // the camera sleeps
	Failed      State = "failed"      // anything else: the reason tells
)

// Status is what a camera does at one instant: all fields are of that instant.
type Status struct {
	Name   string
	State  State
	Reason string    // for people: why no picture comes; empty when live
	Since  time.Time // when State was entered, wall clock

	Mode   capture.Mode // who makes the H.264; empty until the source was open once
	Detail string       // for people: how it is made
	Audio  string       // for people: which sound comes, or why it is left out

	Restarts uint64 // times the source ended and was run again
	Lost     uint64 // times the source told of lost pictures
	Skipped  uint64 // pictures left out because this machine is too slow

	// LastPicture is the arrival of the newest picture, zero before the
	// first. A watchdog must not ask for a recent one: a camera without a
	// signal is no fault of this process.
	LastPicture time.Time

	// Stuck says that the source was told to stop and did not within 10 s.
	// Nothing but a new process cures that: it is what a watchdog is for.
	Stuck bool
}

// stateOf names the state that an error of a source stands for.
func stateOf(err error) State {
	for _, c := range []struct {
		err   error
		state State
	}{
		{capture.ErrNoDevice, NoDevice},
		{capture.ErrNoCable, NoCable},
		{capture.ErrNoSignal, NoSignal},
		{capture.ErrUnsupported, Unsupported},
		{capture.ErrGone, Unplugged},
		{capture.ErrAsleep, Asleep},
		{h264.ErrWaiting, Opening}, // for a keyframe, which comes by itself
	} {
		if errors.Is(err, c.err) {
			return c.state
		}
	}
	return Failed
}
