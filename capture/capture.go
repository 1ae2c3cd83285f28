// Package capture holds the contract between a source of pictures and the
// camera that runs it. The sources themselves are in the folders below it.
package capture

import (
	"context"
	"errors"

	"github.com/lenscast/lenscast/capture/aac"
	"github.com/lenscast/lenscast/capture/h264"
)

// Source is where access units come from: a device, a socket, an encoder.
//
// Run opens the source, hands every picture to sink in order and blocks until
// ctx ends (it then returns nil or ctx.Err()) or the source fails. When it
// returns, everything it opened is closed and every goroutine it started has
// ended, so it can be called again. The error wraps one of the Err values
// below where one fits.
type Source interface {
	Run(ctx context.Context, sink Sink) error
}

// KeyframeForcer is a Source that can be asked for an IDR. The request is
// honoured with one of the next pictures; it never blocks, and it may be
// called at any time, from any goroutine, also while Run is not running.
type KeyframeForcer interface {
	ForceKeyframe()
}

// BitrateSetter is a Source whose encoder follows a bitrate while it runs.
// The rate is in bit/s. It never blocks.
type BitrateSetter interface {
	SetBitrate(bitsPerSecond int)
}

// SkipCounter is a Source that leaves raw pictures out when this machine is
// too slow to encode them all. It counts since the source was made.
type SkipCounter interface {
	Skipped() uint64
}

// Sink takes what a Source produces. Its methods are called from one
// goroutine at a time and never block for long.
type Sink interface {
	// Opened tells that the source is open and how its pictures are made.
	Opened(Info)

	// Write takes the next picture. Its PTS must be greater than the one
	// before it within one Run. The sink owns au from here on.
	Write(au *h264.AccessUnit)

	// Lost tells that pictures were lost before the next one written, which
	// is an IDR. The reason is for people: "3 datagrams lost".
	Lost(reason string)

	// Trouble tells why no picture comes although Run goes on, such as
	// ErrNoSignal. The next picture written ends it.
	Trouble(error)
}

// AudioSink is a Sink that takes sound, too. A Source that has some asks its
// sink for it; pictures never wait for sound.
type AudioSink interface {
	// WriteAudio takes the next frame of sound. Its PTS is on the clock of
	// the pictures. It may come before or after the pictures of its time,
	// and with gaps. The sink owns f from here on.
	WriteAudio(f *aac.Frame)

	// DescribeAudio tells which sound comes, or why it is left out, for
	// people: "AAC, 48 kHz, stereo". Empty when there is none.
	DescribeAudio(text string)
}

// Mode says who made the H.264.
type Mode string

// The modes, from the cheapest to the dearest.
const (
	Passthrough Mode = "passthrough" // the camera's own H.264, untouched
	Hardware    Mode = "hardware"    // encoded here by a device
	Software    Mode = "software"    // encoded here by the CPU
	Clip        Mode = "clip"        // a recorded clip, played in a loop
)

// Info describes an open source.
type Info struct {
	Mode   Mode
	Detail string // for people: which encoder, why this mode, which address
}

// What can be wrong with a source. Errors of Run and Trouble wrap these, so
// that a camera shows the right state; the text around them is for people.
var (
	ErrNoDevice    = errors.New("no device")          // nothing is plugged in
	ErrNoCable     = errors.New("no cable")           // the input has no cable
	ErrNoSignal    = errors.New("no signal")          // connected, but nothing comes
	ErrUnsupported = errors.New("unsupported signal") // something comes that can't be shown
	ErrGone        = errors.New("gone")               // it was there and was unplugged
	ErrAsleep      = errors.New("asleep")             // the camera sleeps
)
