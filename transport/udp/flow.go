package udp

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
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
	// send sends b as datagrams of size bytes, of which the last may be
	// shorter. It keeps nothing of b. The error is packet.ErrFull when this
	// machine could not take all of them.
	send(b []byte, size int) error
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
	alarm alarm // rings after idle without a datagram, which calls cut.idle; nil means never
	idle  time.Duration
	link  link
	pacer *packet.Pacer
	count *counters
	sent  func(now time.Time) // called after every picture; nil without

	// direct lets the goroutine of the camera send what need not be paced. So
	// no thread is to be woken for a picture, which costs more than to send
	// it. It is for few flows, as one waits for the other.
	direct bool

	affordable atomic.Int64 // bit/s that the way carries, 0 without a known limit

	mu        sync.Mutex // guards what follows, cut, link and alarm, which has a goroutine of its own
	datagrams datagrams
	paced     packet.Picture // what the pacer is told of
	needKey   bool           // drop everything up to the next IDR
	last      time.Time      // when something was sent
	ended     bool
}

// alarm is a packet.Alarm that calls sendIdle.
type alarm interface {
	Set(d time.Duration)
	Close()
}

// run sends what r delivers until ctx ends, or r or the link fails. It closes
// r. The error is the cause of the context's end, if that was it.
func (f *flow) run(ctx context.Context, r Reader) error {
	defer r.Close()
	defer f.end()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	pictures, err := catchUp(ctx, r)
	if f.direct {
		r.Direct(func(au *h264.AccessUnit) bool {
			taken, err := f.offer(au, r)
			if err != nil {
				fail(err)
			}
			return taken
		})
	}
	for err == nil {
		for _, pic := range pictures {
			if err = f.sendPicture(ctx, pic, r); err != nil {
				break
			}
		}
		var au *h264.AccessUnit
		if err == nil {
			au, err = r.Next(ctx)
		}
		if err == nil {
			pictures = append(pictures[:0], picture{au, au.PTS})
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// sendPicture sends a picture, as slowly as pacing wants.
func (f *flow) sendPicture(ctx context.Context, pic picture, r Reader) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.transmit(ctx, pic, r, false)
}

// offer sends a picture without waiting for anything, if it can. Keyframes are
// not for that: they are large, and a new one may have a description to be
// written to a file.
func (f *flow) offer(au *h264.AccessUnit, r Reader) (taken bool, err error) {
	if au.Key || !f.mu.TryLock() {
		return false, nil
	}
	defer f.mu.Unlock()
	if f.ended || !f.pacer.Grant(au.Size()+au.Size()/headerShare) {
		return false, nil
	}
	return true, f.transmit(context.Background(), picture{au, au.PTS}, r, true)
}

// headerShare is one byte in how many that all headers of a picture take at
// most.
const headerShare = 8

// transmit sends a picture; one that the pacer has granted as a whole is not
// paced. f.mu is held.
func (f *flow) transmit(ctx context.Context, pic picture, r Reader, granted bool) error {
	if f.needKey && !pic.Key {
		f.count.dropped.Add(1)
		return nil
	}
	f.needKey = false
	f.datagrams.reset()
	f.cut.picture(&f.datagrams, pic)
	f.paced = packet.Picture{AccessUnit: pic.AccessUnit, Size: len(f.datagrams.buf)}
	f.pacer.Limit(int(f.affordable.Load()))
	f.pacer.Begin(&f.paced)
	f.last = time.Now()
	err := f.send(ctx, granted)
	f.setAlarm()
	switch {
	case errors.Is(err, packet.ErrFull):
		// A picture with a hole spoils all that follow it.
		f.needKey = true
		f.count.dropped.Add(1)
		r.RequestKeyframe()
		return nil
	case err == nil:
		now := time.Now()
		f.count.pictures.Add(1)
		f.count.last.Store(now.UnixNano())
		if f.sent != nil {
			f.sent(now)
		}
	}
	return err
}

// setAlarm lets sendIdle come when nothing else is sent meanwhile.
func (f *flow) setAlarm() {
	if f.alarm != nil {
		f.alarm.Set(f.idle - time.Since(f.last))
	}
}

// sendIdle is called by the alarm.
func (f *flow) sendIdle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	elapsed := time.Since(f.last)
	if f.ended || elapsed < f.idle { // a picture came first
		return
	}
	f.last = f.last.Add(elapsed)
	f.datagrams.reset()
	f.cut.idle(&f.datagrams, elapsed)
	// An error here will be one of the next picture, too.
	_ = f.send(context.Background(), false)
	f.setAlarm()
}

// end makes sure that nothing is sent any more.
func (f *flow) end() {
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	if f.alarm != nil {
		f.alarm.Close()
	}
}

// send hands the datagrams to the link, all that follow each other in the same
// size together, and a group at a time when they are many and not granted.
func (f *flow) send(ctx context.Context, granted bool) error {
	var failure error
	begin, size := 0, 0 // of those that are sent together
	start := 0
	flush := func() {
		if start > begin {
			failure = first(failure, f.link.send(f.datagrams.buf[begin:start], size))
		}
		begin = start
	}
	for _, end := range f.datagrams.ends {
		n := end - start
		for !granted && !f.pacer.Allow(n) {
			flush()
			if err := f.pacer.Wait(ctx); err != nil {
				return err
			}
		}
		if start > begin && (n > size || (start-begin)%size != 0) { // a shorter one can only be the last
			flush()
		}
		if start == begin {
			size = n
		}
		start = end
	}
	flush()
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

// udpLink is a link over a UDP socket.
type udpLink struct {
	conn *packet.Conn
	to   netip.AddrPort
}

func (l udpLink) send(b []byte, size int) error { return l.conn.WriteSegments(b, size, l.to) }
