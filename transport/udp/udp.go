// Package udp pushes a camera's H.264 to remote endpoints over UDP: as RTP, as
// an MPEG transport stream in plain datagrams or over SRT, and to clients that
// subscribe themselves.
//
// A [Destination] is parsed from a URL; [New] makes a [Pusher] for it, whose
// Run sends until the connection is lost and says why. Trying again is up to
// the caller: a Pusher can run any number of times, one after the other.
//
// What all kinds share: every run begins with an IDR. Datagrams leave in
// batches, large pictures in small groups over time, and nothing ever waits
// for the network: what a full socket does not take is dropped, and with it
// everything up to the next IDR.
package udp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lenscast/lenscast/transport/packet"
)

// Params are the parameters of New.
type Params struct {
	Destination Destination
	Name        string // of the camera, for receivers to show

	// Open makes a reader that starts at once: at a cached IDR, or at one
	// it has asked for. It is called for every run and every client; the
	// Pusher closes the reader.
	Open func() Reader

	Clock       *packet.Clock       // shared by all senders of the program
	Packetizers *packet.Packetizers // shared by all pushes of the camera; nil means own ones
	Log         *slog.Logger        // nil means no log
}

// Pusher sends the pictures of one camera to one Destination. Its methods are
// safe for concurrent use, but Run runs once at a time.
type Pusher struct {
	p     Params
	rtp   *rtpStream // of Kind RTP; lives across runs, so that receivers see one stream
	count counters

	mu        sync.Mutex
	refused   bool // the last run ended because nobody listens there
	receivers int
	report    func(int) // of the current run
	feedback  packet.Feedback
}

// New checks the parameters. It opens nothing: Run does.
func New(p Params) (*Pusher, error) {
	if p.Destination.Kind == "" || p.Open == nil || p.Clock == nil {
		return nil, errors.New("push: destination, reader and clock are needed")
	}
	if err := p.Destination.CheckExposure(); err != nil {
		return nil, err
	}
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	pusher := &Pusher{p: p}
	if p.Destination.Kind == RTP {
		if p.Packetizers == nil {
			p.Packetizers = &packet.Packetizers{}
		}
		pusher.rtp = newRTPStream(p.Destination, p.Name, p.Packetizers.Get(p.Destination.PacketSize-rtpHeader), rand.Uint32(), rand.Uint32())
	}
	return pusher, nil
}

// Run opens the destination and sends to it until ctx ends, which returns the
// context's error, or until it fails. It calls receivers whenever their number
// changes: a destination at one address has one as soon as it takes pictures.
// Those that listen have many or none, and report the none at the beginning.
func (p *Pusher) Run(ctx context.Context, receivers func(n int)) error {
	p.mu.Lock()
	p.report = receivers
	p.mu.Unlock()

	var err error
	switch d := p.p.Destination; {
	case d.Kind == Server:
		err = p.runServer(ctx)
	case d.Kind == SRT && d.Listener:
		err = p.runSRTListener(ctx)
	case d.Kind == SRT:
		err = p.whileNetworkStays(ctx, p.runSRTCaller)
	case d.Kind == RTP:
		err = p.whileNetworkStays(ctx, p.runRTP)
	default:
		err = p.whileNetworkStays(ctx, p.runTS)
	}
	p.mu.Lock()
	p.receivers = 0
	p.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("push to %s: %w", p.p.Destination, explain(err))
}

// Stats returns what was sent, in all runs together.
func (p *Pusher) Stats() packet.Stats {
	st := packet.Stats{
		Pictures:        p.count.pictures.Load(),
		Packets:         p.count.packets.Load(),
		Bytes:           p.count.bytes.Load(),
		DroppedPictures: p.count.dropped.Load(),
	}
	if ns := p.count.last.Load(); ns != 0 {
		st.LastPicture = time.Unix(0, ns)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	st.Receivers, st.Feedback = p.receivers, p.feedback
	return st
}

// SDP returns the session description (RFC 8866) that an RTP receiver needs,
// empty for other kinds and before the first IDR.
func (p *Pusher) SDP() string {
	if p.rtp == nil {
		return ""
	}
	return p.rtp.description()
}

// changeReceivers adds to the number of receivers; 0 reports it as it is.
func (p *Pusher) changeReceivers(by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receivers += by
	p.report(p.receivers)
}

func (p *Pusher) setFeedback(f packet.Feedback) {
	p.mu.Lock()
	p.feedback = f
	p.mu.Unlock()
}

// newTSFlow makes a flow of transport stream on a link. It must be run, or
// ended.
func (p *Pusher) newTSFlow(l link) (*flow, error) {
	f := &flow{
		cut:   newTSCutter(p.p.Destination.PacketSize),
		idle:  tsIdle,
		link:  l,
		pacer: packet.NewPacer(p.p.Clock),
		count: &p.count,
	}
	alarm, err := packet.NewAlarm(f.sendIdle)
	if err != nil {
		return nil, err
	}
	f.alarm = alarm
	return f, nil
}
