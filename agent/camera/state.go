package camera

import (
	"errors"
	"time"

	"github.com/lenscast/lenscast/capture"
)

// State says in one word or two what a camera does. The values are what the
// viewer page and the status API show.
//
//	    Run
//	     │
//	     ▼     first picture
//	┌─────────┐────────────────────────────────►┌──────┐
//	│ opening │                                 │ live │
//	└─────────┘◄─ opened again ─┐   ┌──────────►└──────┘
//	  │     │                   │   │ picture      │  │
//	  │     │ no picture for 3 s,   │              │  │ no picture for 3 s,
//	  │     │ or trouble told   │   │              │  │ or trouble told
//	  │     ▼                   │   │              ▼  │
//	  │   ┌───────────────────────────────────────────┐
//	  │   │ quiet: the source runs, no picture comes  │
//	  │   │ no cable · no signal · unsupported        │
//	  │   │ no device · unplugged · asleep · failed   │
//	  │   └───────────────────────────────────────────┘
//	  │     │                   │                     │
//	  │     │ source ends       │ try again           │ source ends
//	  │     ▼                   │                     │
//	  │   ┌───────────────────────────────────────────┐
//	  └──►│ down: the source has ended; the same      │◄┘
//	      │ states, named by its error                │
//	      └───────────────────────────────────────────┘
//
// A quiet source that told no trouble and had delivered before is stopped
// after 15 s, which takes it down, and tried again like any other.
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

// Status is what a camera does at one instant.
type Status struct {
	Name   string
	State  State
	Reason string    // for people, why no picture comes; empty when opening or live
	Since  time.Time // when State was entered

	Mode   capture.Mode // who makes the H.264; empty until the source was open once
	Detail string       // for people: how it is made

	Restarts uint64 // times the source was run again after it had ended
	Lost     uint64 // times that the source told of lost pictures
	Skipped  uint64 // pictures left out because this machine was too slow

	// LastPicture is the arrival of the newest picture, zero before the
	// first.
	LastPicture time.Time

	// Stuck says that the source was asked to stop and did not within 10 s.
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
	} {
		if errors.Is(err, c.err) {
			return c.state
		}
	}
	return Failed
}
