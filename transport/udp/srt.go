package udp

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"
	"time"

	srt "github.com/datarhei/gosrt"

	"github.com/lenscast/lenscast/transport/packet"
)

const (
	// srtSilence ends a connection whose peer says nothing: it acknowledges
	// every 10 ms while it gets something, and else keeps alive every second.
	srtSilence = 2500 * time.Millisecond

	// srtPatience is how long a listener may take to answer, and srtRepeat
	// when it is asked again (draft-sharabayko-srt section 4.3).
	srtPatience = 2 * time.Second
	srtRepeat   = 250 * time.Millisecond

	// srtStatsInterval is how often the network is looked at, and
	// srtReportEvery how many looks are one report.
	srtStatsInterval = 100 * time.Millisecond
	srtReportEvery   = 10
)

// srtConfig has the options of SRT that a destination sets.
func srtConfig(d Destination) srt.Config {
	c := srt.DefaultConfig()
	c.Latency = d.Latency
	c.Passphrase = d.secret
	c.PBKeylen = d.KeyLength
	c.PayloadSize = uint32(d.PacketSize)
	c.PeerIdleTimeout = srtSilence
	c.StreamId = d.StreamID
	c.IPTOS = d.DSCP << 2
	c.IPTTL = d.TTL
	return c
}

// runSRTCaller connects to an SRT listener and sends to it.
func (p *Pusher) runSRTCaller(ctx context.Context) error {
	d := p.p.Destination
	ip, err := resolve(ctx, d.Host)
	if err != nil {
		return err
	}
	to := netip.AddrPortFrom(ip, d.Port)
	rtt, err := knock(ctx, d, to)
	if err != nil {
		return err
	}
	conn, err := srtDial(d, to, rtt)
	if err != nil {
		return err
	}
	p.changeReceivers(1)
	return p.serveSRT(ctx, conn)
}

// serveSRT sends on a connection until it ends, and closes it.
func (p *Pusher) serveSRT(ctx context.Context, conn srt.Conn) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer watchSRT(conn, cancel)()

	reader := p.p.Open()
	flow := p.newTSFlow(srtLink{conn})
	var stats sync.WaitGroup
	stats.Go(func() { p.watchSRTStats(ctx, conn, newFollower(flow, reader)) })
	err := flow.run(ctx, reader)
	cancel(nil)
	stats.Wait()
	if errors.Is(err, io.EOF) {
		return errors.New("the connection was closed, or the receiver fell silent")
	}
	return err
}

// srtLink writes into a connection. The queue of gosrt holds 1024 datagrams
// and closes the connection when it is full; the pacing of a flow keeps it
// nearly empty, however large a picture is.
type srtLink struct{ conn srt.Conn }

func (l srtLink) write(b []byte) error {
	_, err := l.conn.Write(b)
	return err
}

func (l srtLink) flush() error { return nil }

// watchSRT waits for a connection to end, which is told to failed. Stop closes
// the connection and waits for its goroutines. The one of a caller that reads
// the socket hands its last error to the next call of Read or Write, and would
// wait for that call for ever.
func watchSRT(conn srt.Conn, failed func(error)) (stop func()) {
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, srt.MAX_PAYLOAD_SIZE)
		for {
			if _, err := conn.Read(buf); err != nil {
				failed(err)
				return
			}
		}
	})
	return func() {
		_ = conn.Close() // always nil
		done.Wait()
		for range 100 {
			if _, err := conn.Read(nil); !errors.Is(err, io.EOF) {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// watchSRTStats follows the network, and reports how the connection does, until
// ctx ends.
func (p *Pusher) watchSRTStats(ctx context.Context, conn srt.Conn, to *follower) {
	ticker := time.NewTicker(srtStatsInterval)
	defer ticker.Stop()
	var s srt.Statistics
	var buffered uint64 // bytes not acknowledged at the last look
	var received float64
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			conn.Stats(&s)
			f := packet.Feedback{
				At:      now,
				RTT:     time.Duration(s.Instantaneous.MsRTT * float64(time.Millisecond)),
				Backlog: time.Duration(s.Instantaneous.MsSendBuf) * time.Millisecond,
			}
			if sent := s.Interval.PktSent; sent > 0 {
				f.Loss = min(float64(s.Interval.PktSendLoss)/float64(sent), 1)
			}
			// What left the buffer has arrived, or was given up. A hole
			// holds up the acknowledgement of all that follows it, hence
			// the mean.
			left := float64(s.Interval.ByteSentUnique) - float64(s.Interval.ByteSendDrop) -
				(float64(s.Instantaneous.ByteSendBuf) - float64(buffered))
			buffered = s.Instantaneous.ByteSendBuf
			if ms := s.Interval.MsInterval; ms > 0 {
				received += (max(left, 0)*8000/float64(ms) - received) / 2
			}
			f.ReceiveRate = received
			f = to.hear(f, s.Accumulated.ByteSentUnique)
			if s.Interval.PktSndDrop > 0 {
				to.reader.RequestKeyframe() // what was given up has left a hole
			}
			if n%srtReportEvery == 0 {
				p.setFeedback(f)
			}
		}
	}
}
