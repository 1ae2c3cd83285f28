// Package netwatch tells when the network of this machine has changed: an
// address, an interface or a route came or went. Whoever has a connection then
// looks whether it still leaves the way it did, see [Source].
//
// It works on Linux; elsewhere nothing is ever told, and connections find out
// by silence.
package netwatch

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// settle is how long changes are collected: one cable makes a dozen of them.
const settle = 150 * time.Millisecond

// Watch returns a channel that gets a value when the network has changed. One
// that nobody takes is kept, any more are the same. It watches until ctx ends;
// the channel is never closed. An error means that nothing can be told.
func Watch(ctx context.Context) (<-chan struct{}, error) {
	changes, err := changes(ctx)
	if err != nil {
		return nil, err
	}
	told := make(chan struct{}, 1)
	before := state()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changes:
			}
			timer := time.NewTimer(settle)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			select {
			case <-changes: // it came meanwhile
			default:
			}
			// Much of what the kernel tells is a renewal.
			now := state()
			if now == before {
				continue
			}
			before = now
			select {
			case told <- struct{}{}:
			default:
			}
		}
	}()
	return told, nil
}

// Source returns the address of this machine from which packets to another
// one leave now, invalid when there is no way to it. Nothing is sent.
func Source(to netip.Addr) netip.Addr {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}
