package udp

import (
	"context"
	"errors"
	"sync"

	srt "github.com/datarhei/gosrt"
)

// maxCallers bounds the callers of an SRT listener: each costs a queue of
// retransmissions.
const maxCallers = 16

// runSRTListener waits for SRT callers and sends to each of them.
func (p *Pusher) runSRTListener(ctx context.Context) error {
	d := p.p.Destination
	if d.Host != "" {
		ip, err := resolve(ctx, d.Host)
		if err != nil {
			return err
		}
		d.Host = ip.String()
	}
	losses := newLossLog()
	listener, err := srt.Listen("srt", d.address(), srtConfig(d, losses))
	if err != nil {
		return err
	}
	p.changeReceivers(0)
	var callers sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer callers.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, listener.Close)
	defer stop()
	defer listener.Close()

	for {
		request, err := listener.Accept2()
		if err != nil {
			return err
		}
		conn, err := p.accept(request)
		if err != nil {
			p.p.Log.Warn("caller refused", "push", p.p.Destination.String(), "caller", request.RemoteAddr().String(), "error", err)
			continue
		}
		p.changeReceivers(1)
		p.p.Log.Info("caller connected", "push", p.p.Destination.String(), "caller", conn.RemoteAddr().String())
		callers.Go(func() {
			defer p.changeReceivers(-1)
			if err := p.serveSRT(ctx, conn, losses); ctx.Err() == nil {
				p.p.Log.Info("caller gone", "push", p.p.Destination.String(), "caller", conn.RemoteAddr().String(), "reason", err)
			}
		})
	}
}

// accept checks what the caller asks for and proves.
func (p *Pusher) accept(request srt.ConnRequest) (srt.Conn, error) {
	d := p.p.Destination
	reject := func(reason srt.RejectionReason, words string) (srt.Conn, error) {
		request.Reject(reason)
		return nil, errors.New(words)
	}
	p.mu.Lock()
	full := p.receivers >= maxCallers
	p.mu.Unlock()
	switch {
	case full:
		return reject(srt.REJ_RESOURCE, "there are as many as can be served")
	case d.StreamID != "" && request.StreamId() != d.StreamID:
		return reject(srt.REJX_NOTFOUND, "it asks for another streamid")
	case request.IsEncrypted() != (d.secret != ""):
		return reject(srt.REJ_UNSECURE, "one side has a passphrase and the other has none")
	case d.secret != "" && request.SetPassphrase(d.secret) != nil:
		return reject(srt.REJ_BADSECRET, "its passphrase is wrong")
	}
	return request.Accept()
}
