package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// network is what a relay does to datagrams: losses and delay in both
// directions, the rate on the way up only.
type network struct {
	loss  float64       // share of datagrams that vanish
	delay time.Duration // one way
	steps []step        // of the rate, empty for no limit
	live  bool          // lenscast sends what a live encoder makes; the relay does not care
}

// step is a rate from some time on.
type step struct {
	after time.Duration
	rate  float64 // bit/s
}

// queueTime is how much of a link's rate may wait in front of it.
const queueTime = 300 * time.Millisecond

// relay passes datagrams from a sender to a receiver and back. It draws the
// same losses in every run.
type relay struct {
	network

	mu    sync.Mutex
	rand  *rand.Rand
	began time.Time // the first step, zero until then
	free  time.Time // when the link has sent all that waits
}

// lane is one port of the sender and of the receiver.
type lane struct {
	*relay
	front *net.UDPConn // the sender sends here
	back  *net.UDPConn // connected to the receiver

	mu     sync.Mutex
	sender netip.AddrPort
}

func newRelay(n network) *relay { return &relay{network: n, rand: rand.New(rand.NewPCG(1, 2))} }

// open carries what comes to a port to one of the receiver's, and the answers
// back, until ctx ends.
func (r *relay) open(ctx context.Context, port, receiver int) error {
	loopback := net.IPv4(127, 0, 0, 1)
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback, Port: port})
	if err != nil {
		return err
	}
	back, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: loopback, Port: receiver})
	if err != nil {
		front.Close()
		return err
	}
	_ = front.SetReadBuffer(8 << 20)
	l := &lane{relay: r, front: front, back: back}
	context.AfterFunc(ctx, func() {
		front.Close()
		back.Close()
	})
	go l.up(ctx)
	go l.down(ctx)
	return nil
}

// begin starts the steps of the rate. Until then the first one holds.
func (r *relay) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began = time.Now()
}

// rate returns what the link carries now, 0 for everything. r.mu is held.
func (r *relay) rate(now time.Time) (rate float64) {
	for i, s := range r.steps {
		if i == 0 || !r.began.IsZero() && now.Sub(r.began) >= s.after {
			rate = s.rate
		}
	}
	return rate
}

// schedule tells when a datagram of n bytes that comes up now gets out of the
// link, if it does.
func (r *relay) schedule(n int, now time.Time) (at time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lost := r.lost()
	at = now
	if rate := r.rate(now); rate > 0 {
		if r.free.Before(now) {
			r.free = now
		}
		if r.free.Sub(now) > queueTime {
			return at, false // the queue is full
		}
		r.free = r.free.Add(time.Duration(float64(n+28) * 8 / rate * float64(time.Second)))
		at = r.free
	}
	return at.Add(r.delay), !lost
}

// lost draws whether a datagram vanishes. r.mu is held.
func (r *relay) lost() bool { return r.rand.Float64() < r.loss }

// up carries what the sender sends.
func (l *lane) up(ctx context.Context) {
	out := newLine(ctx, func(b []byte) { _, _ = l.back.Write(b) })
	buf := make([]byte, 2048)
	for {
		n, from, err := l.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return // closed
		}
		l.mu.Lock()
		l.sender = from
		l.mu.Unlock()
		if at, ok := l.schedule(n, time.Now()); ok {
			out(buf[:n], at)
		}
	}
}

// down carries what the receiver answers.
func (l *lane) down(ctx context.Context) {
	out := newLine(ctx, func(b []byte) {
		l.mu.Lock()
		to := l.sender
		l.mu.Unlock()
		if to.IsValid() {
			_, _ = l.front.WriteToUDPAddrPort(b, to)
		}
	})
	buf := make([]byte, 2048)
	for ctx.Err() == nil {
		n, err := l.back.Read(buf)
		if err != nil {
			time.Sleep(time.Millisecond)
			continue // the receiver does not listen yet
		}
		l.relay.mu.Lock()
		lost := l.lost()
		l.relay.mu.Unlock()
		if !lost {
			out(buf[:n], time.Now().Add(l.delay))
		}
	}
}

// emulate has netem lose and delay what goes to and comes from a port, on all
// of loopback (tc-netem(8)). It needs root.
func emulate(ctx context.Context, n network, port int) error {
	_ = exec.CommandContext(ctx, "tc", "qdisc", "del", "dev", "lo", "root").Run() // of the measurement before
	for _, rule := range []string{
		"qdisc add dev lo root handle 1: prio",
		fmt.Sprintf("qdisc add dev lo parent 1:3 handle 3: netem limit 10000 delay %dms loss %g%%", n.delay.Milliseconds(), 100*n.loss),
		fmt.Sprintf("filter add dev lo parent 1: protocol ip u32 match ip dport %d 0xffff flowid 1:3", port),
		fmt.Sprintf("filter add dev lo parent 1: protocol ip u32 match ip sport %d 0xffff flowid 1:3", port),
	} {
		if out, err := exec.CommandContext(ctx, "tc", strings.Fields(rule)...).CombinedOutput(); err != nil {
			return fmt.Errorf("tc %s: %w: %s", rule, err, out)
		}
	}
	return nil
}

// newLine returns a function that has copies delivered, in order, each at its
// time.
func newLine(ctx context.Context, deliver func([]byte)) func(b []byte, at time.Time) {
	type parcel struct {
		data []byte
		at   time.Time
	}
	parcels := make(chan parcel, 1<<15)
	go func() {
		for {
			select {
			case p := <-parcels:
				time.Sleep(time.Until(p.at))
				deliver(p.data)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func(b []byte, at time.Time) {
		select {
		case parcels <- parcel{append([]byte(nil), b...), at}:
		case <-ctx.Done():
		}
	}
}
