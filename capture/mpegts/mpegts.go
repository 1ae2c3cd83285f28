// Package mpegts is the source that takes MPEG-TS over UDP with H.264 in it,
// as a GoPro sends it, or ffmpeg:
//
//	ffmpeg -re -i film.mp4 -c copy -f mpegts udp://127.0.0.1:8554
//
// The H.264 passes through untouched. One sender is listened to at a time; it
// may stop, come back and change its format at any time. Transport packets may
// come seven to a datagram or in any other way, also within RTP (RFC 2250).
// The sound beside it does, too, if it is AAC in ADTS, for a sink that takes
// sound. Everything else but the first H.264 track that is not empty is ignored.
//
// # Loss
//
// Lost datagrams are noticed by the continuity counters, also those of the
// sound, by RTP's sequence numbers, by the socket's count of what it had no
// room for, and by the frame numbers of the pictures. The next picture is then
// an IDR. A datagram that comes late counts as lost.
//
// Continuity counters have 4 bits. So what stays unnoticed is a loss within one
// picture of 16 transport packets, or a multiple of that, and nothing else: it
// takes at least three datagrams in a row. A bit error that passes the checksum
// of UDP is not looked for.
//
// # Latency
//
// A picture is handed on with the datagram that completes it wherever the
// sender's muxer lets that be known: most, ffmpeg's included, fill up the last
// transport packet of a picture. Else it is handed on when the next one
// begins, a frame time later.
package mpegts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/lenscast/lenscast/capture"
)

const (
	// maxDatagram is the most that UDP carries, in bytes.
	maxDatagram = 64 << 10
	// tickInterval is how often Run looks whether anything comes at all.
	tickInterval = 500 * time.Millisecond
)

// Params configures a Source.
type Params struct {
	// Listen is where to receive: "udp://:8554", "udp://127.0.0.1:8554",
	// "udp://[::1]:8554", or a multicast group, "udp://239.0.0.1:5000",
	// with the network interface to join it at when the default is not the
	// right one: "?interface=eth0".
	Listen string

	// Log takes what is worth knowing beside the pictures. Nil logs nothing.
	Log *slog.Logger
}

// Source is a capture.Source of MPEG-TS over UDP.
type Source struct {
	address address
	log     *slog.Logger
}

var _ capture.Source = (*Source)(nil)

// New returns a Source. The error says what is wrong with params.Listen;
// nothing is opened yet.
func New(params Params) (*Source, error) {
	a, err := parseAddress(params.Listen)
	if err != nil {
		return nil, err
	}
	log := params.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Source{address: a, log: log}, nil
}

// Run receives until ctx ends. The socket stays open when the sender stops.
//
// It fails when the socket can't be opened: with capture.ErrNoDevice when this
// machine lacks the address or the interface, which may yet come. Why nothing
// comes is told to the sink as trouble: capture.ErrNoSignal when nothing
// arrives, capture.ErrUnsupported when what arrives can't be shown, and
// h264.ErrWaiting when it lacks a keyframe.
func (s *Source) Run(ctx context.Context, sink capture.Sink) error {
	conn, err := listen(ctx, s.address, s.log)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	in, err := newSocket(conn)
	if err != nil {
		return err
	}
	// A deadline in the past ends the read that is waiting.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()

	sink.Opened(capture.Info{Mode: capture.Passthrough, Detail: "MPEG-TS at " + s.address.String()})
	now := time.Now()
	r := newReceiver(s.address.String(), sink, s.log, now)
	ticked := now.Add(-tickInterval)
	for ctx.Err() == nil {
		if now.Sub(ticked) >= tickInterval {
			r.tick(now)
			ticked = now
			if err := conn.SetReadDeadline(now.Add(tickInterval)); err != nil {
				return fmt.Errorf("receive at %s: %w", s.address, err)
			}
			if ctx.Err() != nil { // its deadline may just have been overwritten
				break
			}
		}
		d, err := in.read()
		now = time.Now()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded): // time for a tick, or ctx has ended
		case err != nil:
			return fmt.Errorf("receive at %s: %w", s.address, err)
		default:
			r.overflow(d.dropped)
			r.datagram(d.data, d.from, now.Add(-d.age))
		}
	}
	return nil
}
