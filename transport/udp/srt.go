package udp

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
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

	// srtLearned is after how many acknowledgements the round trip is known.
	// It begins as 100 ms at both ends, and each takes an eighth of what is
	// new (draft-sharabayko-srt section 4.10): at a long way it grows for a
	// while as if a queue did.
	srtLearned = 64
)

// srtConfig has the options of SRT that a destination sets, and tells log of
// losses.
func srtConfig(d Destination, log srt.Logger) srt.Config {
	c := srt.DefaultConfig()
	c.Logger = log
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
	losses := newLossLog()
	conn, err := srtDial(d, to, rtt, losses)
	if err != nil {
		return err
	}
	p.changeReceivers(1)
	return p.serveSRT(ctx, conn, losses)
}

// serveSRT sends on a connection, whose losses are logged, until it ends, and
// closes it.
func (p *Pusher) serveSRT(ctx context.Context, conn srt.Conn, losses *lossLog) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer watchSRT(conn, cancel)()
	losses.watch(conn.SocketId())
	defer losses.forget(conn.SocketId())

	flow, err := p.newTSFlow(srtLink{conn})
	if err != nil {
		return err
	}
	reader := p.p.Open()
	var stats sync.WaitGroup
	stats.Go(func() { p.watchSRTStats(ctx, conn, losses, newFollower(flow, reader)) })
	err = flow.run(ctx, reader)
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

func (l srtLink) send(b []byte, size int) error {
	for datagram := range slices.Chunk(b, size) {
		if _, err := l.conn.Write(datagram); err != nil {
			return err
		}
	}
	return nil
}

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
func (p *Pusher) watchSRTStats(ctx context.Context, conn srt.Conn, losses *lossLog, to *follower) {
	ticker := time.NewTicker(srtStatsInterval)
	defer ticker.Stop()
	var s srt.Statistics
	var look srtLook
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			conn.Stats(&s)
			f := look.feedback(&s, losses.lost(conn.SocketId()), now)
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

// srtLook is what a look at the statistics is compared with: the one before.
type srtLook struct {
	buffered uint64  // bytes not acknowledged
	lost     uint64  // packets, of all
	received float64 // bit/s, the mean of a few looks
}

// feedback makes of the statistics, and of how many packets were lost until
// now, what they tell of the way there.
func (l *srtLook) feedback(s *srt.Statistics, lost uint64, now time.Time) packet.Feedback {
	f := packet.Feedback{
		At:      now,
		Backlog: time.Duration(s.Instantaneous.MsSendBuf) * time.Millisecond,
	}
	if s.Accumulated.PktRecvACK >= srtLearned {
		f.RTT = time.Duration(s.Instantaneous.MsRTT * float64(time.Millisecond))
	}
	if sent := s.Interval.PktSentUnique; sent > 0 {
		f.Loss = min(float64(lost-l.lost)/float64(sent), 1)
	}
	// What left the buffer was acknowledged, which says that it has arrived
	// or that the receiver waits for it no longer (draft-sharabayko-srt
	// section 4.6): so what was lost does not count, though some of it came
	// at the second try. A hole holds up the acknowledgement of all that
	// follows it, hence the mean.
	sent := float64(s.Interval.ByteSentUnique)
	left := sent - float64(s.Interval.ByteSendDrop) - (float64(s.Instantaneous.ByteSendBuf) - float64(l.buffered))
	if ms := s.Interval.MsInterval; ms > 0 {
		l.received += ((left-f.Loss*sent)*8000/float64(ms) - l.received) / 2
	}
	f.ReceiveRate = max(l.received, 1) // 0 would say that it is not known
	l.buffered, l.lost = s.Instantaneous.ByteSendBuf, lost
	return f
}
