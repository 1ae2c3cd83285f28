package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// network is what a relay does to datagrams, in both directions but for the
// rate, which is that of the uplink.
type network struct {
	loss  float64       // share of datagrams that vanish
	delay time.Duration // one way
	rate  float64       // bit/s, 0 for no limit
	queue int           // bytes that may wait for the rate
}

// relay passes datagrams from a sender to a receiver and back.
type relay struct {
	network
	front *net.UDPConn // the sender sends here
	back  *net.UDPConn // connected to the receiver
	rand  *rand.Rand

	mu     sync.Mutex
	sender netip.AddrPort
}

// startRelay opens a relay to the port of a receiver and runs it until ctx
// ends. Losses are the same in every run.
func startRelay(ctx context.Context, n network, receiver int) (port int, err error) {
	loopback := net.IPv4(127, 0, 0, 1)
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback})
	if err != nil {
		return 0, err
	}
	back, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: loopback, Port: receiver})
	if err != nil {
		front.Close()
		return 0, err
	}
	_ = front.SetReadBuffer(8 << 20)
	r := &relay{network: n, front: front, back: back, rand: rand.New(rand.NewPCG(1, 2))}
	context.AfterFunc(ctx, func() {
		front.Close()
		back.Close()
	})
	go r.up()
	go r.down()
	return front.LocalAddr().(*net.UDPAddr).Port, nil
}

// up carries what the sender sends.
func (r *relay) up() {
	out := newLine(func(b []byte) { _, _ = r.back.Write(b) })
	var free time.Time // when the link has sent all that waits
	buf := make([]byte, 2048)
	for {
		n, from, err := r.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			close(out)
			return
		}
		r.mu.Lock()
		r.sender = from
		lost := r.rand.Float64() < r.loss
		r.mu.Unlock()
		now := time.Now()
		at := now
		if r.rate > 0 {
			if free.Before(now) {
				free = now
			}
			if free.Sub(now).Seconds()*r.rate/8 > float64(r.queue) {
				continue // the queue is full
			}
			free = free.Add(time.Duration(float64(n+28) * 8 / r.rate * float64(time.Second)))
			at = free
		}
		if !lost {
			out <- parcel{append([]byte(nil), buf[:n]...), at.Add(r.delay)}
		}
	}
}

// down carries what the receiver answers.
func (r *relay) down() {
	out := newLine(func(b []byte) {
		r.mu.Lock()
		to := r.sender
		r.mu.Unlock()
		if to.IsValid() {
			_, _ = r.front.WriteToUDPAddrPort(b, to)
		}
	})
	buf := make([]byte, 2048)
	for {
		n, err := r.back.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			close(out)
			return
		} else if err != nil {
			continue // the receiver does not listen yet
		}
		r.mu.Lock()
		lost := r.rand.Float64() < r.loss
		r.mu.Unlock()
		if !lost {
			out <- parcel{append([]byte(nil), buf[:n]...), time.Now().Add(r.delay)}
		}
	}
}

// parcel is a datagram on its way.
type parcel struct {
	data []byte
	at   time.Time // of arrival
}

// newLine delivers parcels in order, each at its time.
func newLine(deliver func([]byte)) chan<- parcel {
	c := make(chan parcel, 1<<16)
	go func() {
		for p := range c {
			time.Sleep(time.Until(p.at))
			deliver(p.data)
		}
	}()
	return c
}
