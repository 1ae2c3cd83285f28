package udp

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/lenscast/lenscast/transport/packet"
)

// cutter makes datagrams of pictures.
type cutter interface {
	// picture appends the datagrams of a picture.
	picture(d *datagrams, pic picture)

	// idle appends what has to be sent when nothing was for a while.
	idle(d *datagrams, elapsed time.Duration)
}

// datagrams are kept in one piece of memory that is used again for every
// picture.
type datagrams struct {
	buf  []byte
	ends []int // of each datagram in buf
}

func (d *datagrams) reset() { d.buf, d.ends = d.buf[:0], d.ends[:0] }

// end marks what was appended to buf since the last call as a datagram.
func (d *datagrams) end() { d.ends = append(d.ends, len(d.buf)) }

// link takes datagrams to one receiver. It never waits.
type link interface {
	// write sends b, or keeps it until flush. It copies b.
	write(b []byte) error

	// flush sends what was kept. The error is packet.ErrFull, of any write
	// since the last flush, when this machine could not take it.
	flush() error
}

// counters of everything that one Pusher sends.
type counters struct {
	pictures, packets, bytes, dropped atomic.Uint64
	last                              atomic.Int64 // Unix time in ns of the last picture
}

// flow sends pictures on one link: paced, and without the pictures that
// depend on one that could not be sent.
type flow struct {
	cut   cutter
	idle  time.Duration // cut.idle is called after this time without a datagram; 0 means never
	link  link
	pacer *packet.Pacer
	count *counters

	datagrams datagrams
	paced     packet.Picture // what the pacer is told of
	needKey   bool           // drop everything up to the next IDR
}

// run sends what r delivers until ctx ends, r or the link fails, or an error
// comes from failed. It closes r.
func (f *flow) run(ctx context.Context, r Reader, failed <-chan error) error {
	pump := startPump(ctx, r)
	defer pump.stop()

	var idle <-chan time.Time
	var timer *time.Timer
	if f.idle > 0 {
		timer = time.NewTimer(f.idle)
		defer timer.Stop()
		idle = timer.C
	}
	last := time.Now() // when something was sent
	for {
		f.datagrams.reset()
		select {
		case pic := <-pump.pictures:
			if f.needKey && !pic.Key {
				f.count.dropped.Add(1)
				continue
			}
			f.needKey = false
			f.cut.picture(&f.datagrams, pic)
			f.paced = packet.Picture{AccessUnit: pic.AccessUnit, Size: len(f.datagrams.buf)}
			f.pacer.Begin(&f.paced)
			last = time.Now()
			err := f.send(ctx)
			switch {
			case errors.Is(err, packet.ErrFull):
				// A picture with a hole spoils all that follow it.
				f.needKey = true
				f.count.dropped.Add(1)
				r.RequestKeyframe()
			case err != nil:
				return err
			default:
				f.count.pictures.Add(1)
				f.count.last.Store(time.Now().UnixNano())
			}
		case now := <-idle:
			f.cut.idle(&f.datagrams, now.Sub(last))
			last = now
			if err := f.send(ctx); err != nil && !errors.Is(err, packet.ErrFull) {
				return err
			}
		case err := <-failed:
			return err
		case err := <-pump.failed:
			return err
		}
		if timer != nil {
			timer.Reset(f.idle - time.Since(last))
		}
	}
}

// send hands the datagrams to the link, a group at a time when they are many.
func (f *flow) send(ctx context.Context) error {
	var failure error
	start := 0
	for _, end := range f.datagrams.ends {
		for !f.pacer.Allow(end - start) {
			failure = first(failure, f.link.flush())
			if err := f.pacer.Wait(ctx); err != nil {
				return err
			}
		}
		failure = first(failure, f.link.write(f.datagrams.buf[start:end]))
		start = end
	}
	failure = first(failure, f.link.flush())
	f.count.packets.Add(uint64(len(f.datagrams.ends)))
	f.count.bytes.Add(uint64(len(f.datagrams.buf)))
	return failure
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// batchLink is a link over a UDP socket.
type batchLink struct {
	conn  *packet.Conn
	to    netip.AddrPort
	batch packet.Batch
	held  bool
}

func (l *batchLink) write(b []byte) error {
	if !l.held {
		l.batch.Hold()
		l.held = true
	}
	return l.batch.Write(l.conn, b, l.to)
}

func (l *batchLink) flush() error {
	if !l.held {
		return nil
	}
	l.held = false
	return l.batch.Flush()
}
