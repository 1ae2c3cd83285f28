package udp

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"github.com/lenscast/lenscast/transport/netwatch"
)

// errNetworkChanged ends what was sent from an address that is not the right
// one any more. It begins anew at once.
var errNetworkChanged = errors.New("the network changed")

// whileNetworkStays does what sends to the destination until it ends, anew each
// time that datagrams have to leave from another address than before. Those
// who listen do so at all addresses, and need it not.
func (p *Pusher) whileNetworkStays(ctx context.Context, send func(context.Context) error) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	changes, err := netwatch.Watch(watching)
	if err != nil {
		p.p.Log.Warn("changes of the network are not noticed", "error", err)
		return send(ctx)
	}
	for {
		running, end := context.WithCancelCause(ctx)
		var following sync.WaitGroup
		following.Go(func() {
			source := p.source(running)
			for {
				select {
				case <-running.Done():
					return
				case <-changes:
				}
				if p.source(running) != source {
					end(errNetworkChanged)
				}
			}
		})
		err := send(running)
		changed := errors.Is(context.Cause(running), errNetworkChanged)
		end(nil)
		following.Wait()
		if !changed || ctx.Err() != nil {
			return err
		}
		p.p.Log.Info("push begins anew", "reason", errNetworkChanged)
		p.mu.Lock()
		p.receivers = 0
		p.mu.Unlock()
	}
}

// source returns the address from which datagrams to the destination leave,
// invalid when there is no way to it.
func (p *Pusher) source(ctx context.Context) netip.Addr {
	to, err := resolve(ctx, p.p.Destination.Host)
	if err != nil {
		return netip.Addr{}
	}
	return netwatch.Source(to)
}
