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
	front *net.UDPConn // the sender sends here
	back  *net.UDPConn // connected to the receiver

	mu     sync.Mutex
	rand   *rand.Rand
	sender netip.AddrPort
	began  time.Time // the first step, zero until then
}

// startRelay opens a relay to the port of a receiver and runs it until ctx
// ends. It listens at the given port.
func startRelay(ctx context.Context, n network, port, receiver int) (*relay, error) {
	loopback := net.IPv4(127, 0, 0, 1)
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback, Port: port})
	if err != nil {
		return nil, err
	}
	back, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: loopback, Port: receiver})
	if err != nil {
		front.Close()
		return nil, err
	}
	_ = front.SetReadBuffer(8 << 20)
	r := &relay{network: n, front: front, back: back, rand: rand.New(rand.NewPCG(1, 2))}
	context.AfterFunc(ctx, func() {
		front.Close()
		back.Close()
	})
	go r.up(ctx)
	go r.down(ctx)
	return r, nil
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

// up carries what the sender sends.
func (r *relay) up(ctx context.Context) {
	out := newLine(ctx, func(b []byte) { _, _ = r.back.Write(b) })
	var free time.Time // when the link has sent all that waits
	buf := make([]byte, 2048)
	for {
		n, from, err := r.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return // closed
		}
		now := time.Now()
		r.mu.Lock()
		r.sender = from
		lost := r.rand.Float64() < r.loss
		rate := r.rate(now)
		r.mu.Unlock()
		at := now
		if rate > 0 {
			if free.Before(now) {
				free = now
			}
			if free.Sub(now) > queueTime {
				continue // the queue is full
			}
			free = free.Add(time.Duration(float64(n+28) * 8 / rate * float64(time.Second)))
			at = free
		}
		if !lost {
			out(buf[:n], at.Add(r.delay))
		}
	}
}

// down carries what the receiver answers.
func (r *relay) down(ctx context.Context) {
	out := newLine(ctx, func(b []byte) {
		r.mu.Lock()
		to := r.sender
		r.mu.Unlock()
		if to.IsValid() {
			_, _ = r.front.WriteToUDPAddrPort(b, to)
		}
	})
	buf := make([]byte, 2048)
	for ctx.Err() == nil {
		n, err := r.back.Read(buf)
		if err != nil {
			time.Sleep(time.Millisecond)
			continue // the receiver does not listen yet
		}
		r.mu.Lock()
		lost := r.rand.Float64() < r.loss
		r.mu.Unlock()
		if !lost {
			out(buf[:n], time.Now().Add(r.delay))
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
