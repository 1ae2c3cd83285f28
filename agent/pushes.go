package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lenscast/lenscast/agent/config"
	"github.com/lenscast/lenscast/agent/push"
	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/transport/packet"
	"github.com/lenscast/lenscast/transport/udp"
	"github.com/lenscast/lenscast/transport/webrtc"
	"github.com/lenscast/lenscast/transport/webrtc/whip"
)

const (
	// pushQueue is how many pictures may wait for one push: 2 s at 60 fps,
	// which is what catching up with a group of pictures of that length takes
	// at most.
	pushQueue = 120

	// pushPause is the longest pause between two attempts. One costs the
	// network a datagram and the camera nothing, and a receiver that is back
	// should not wait a second for its picture. whipPause is the same for
	// WHIP, which needs a few round trips of that second.
	pushPause = 700 * time.Millisecond
	whipPause = 500 * time.Millisecond
)

// runningPush is one push of a running camera.
type runningPush struct {
	*part
	push *push.Push
	ice  func() webrtc.ICEStatus // nil but for WHIP
	sdp  func() string           // nil but for RTP
}

// startPushes starts all pushes of a camera. s.mu is not held.
func (s *supervisor) startPushes(ctx context.Context, c *runningCamera, pushes []config.Push, rtc config.WebRTC) error {
	var running []*runningPush
	var errs []error
	c.packetizers = &packet.Packetizers{}
	for _, cfg := range pushes {
		newPush := s.newUDP
		if whip.IsEndpoint(cfg.URL.Reveal()) {
			newPush = s.newWHIP
		}
		p := &runningPush{}
		params, err := newPush(p, c, cfg, rtc)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		params.Camera, params.Log = c.cfg.Name, s.log
		p.push = push.New(params)
		name := fmt.Sprintf("push of camera %s to %s", c.cfg.Name, params.Destination)
		p.part = startPart(ctx, name, p.push.Run, s.partFailed)
		running = append(running, p)
	}
	s.mu.Lock()
	c.pushes = running
	s.mu.Unlock()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("camera %q: %w", c.cfg.Name, err)
	}
	return nil
}

// newUDP makes a push over UDP.
func (s *supervisor) newUDP(p *runningPush, c *runningCamera, cfg config.Push, _ config.WebRTC) (push.Params, error) {
	dest, err := destination(cfg)
	if err != nil {
		return push.Params{}, err
	}
	pusher, err := udp.New(udp.Params{
		Destination: dest,
		Name:        c.cfg.Name,
		Open:        func() udp.Reader { return c.subscribePush(dest.String()) },
		Clock:       &s.clock,
		Packetizers: c.packetizers,
		Log:         s.log.With(logKeyCamera, c.cfg.Name),
	})
	if err != nil {
		return push.Params{}, err
	}
	if dest.Kind == udp.RTP {
		p.sdp = pusher.SDP
	}
	return push.Params{Destination: dest.String(), Pusher: pusher, MaxPause: pushPause}, nil
}

// newWHIP makes a push by WHIP.
func (s *supervisor) newWHIP(p *runningPush, c *runningCamera, cfg config.Push, rtc config.WebRTC) (push.Params, error) {
	endpoint, err := endpoint(cfg)
	if err != nil {
		return push.Params{}, err
	}
	pusher, err := webrtc.NewPusher(webrtc.PusherParams{
		Endpoint:   endpoint,
		ICEServers: iceServers(rtc),
		Open:       func() webrtc.Reader { return c.subscribePush(endpoint.String()) },
		Format:     c.stream.Format,
		Clock:      &s.clock,
		Log:        s.log.With(logKeyCamera, c.cfg.Name, "push", endpoint.String()),
	})
	if err != nil {
		return push.Params{}, err
	}
	p.ice = pusher.ICE
	return push.Params{Destination: endpoint.String(), Pusher: pusher, MaxPause: whipPause}, nil
}

// subscribePush makes a reader for a push.
func (c *runningCamera) subscribePush(destination string) *stream.Reader {
	return c.stream.Subscribe(stream.AtOnce, pushQueue).As(stream.Push, "push to "+destination)
}

// stopPushes ends all pushes of a camera.
func (s *supervisor) stopPushes(ctx context.Context, c *runningCamera) error {
	s.mu.Lock()
	pushes := c.pushes
	c.pushes = nil
	s.mu.Unlock()
	for _, p := range pushes {
		p.cancel()
	}
	var errs []error
	for _, p := range pushes {
		errs = append(errs, stopForRestart(ctx, p.part))
	}
	return errors.Join(errs...)
}

// endpoint reads what a [[camera.push]] table says of WHIP.
func endpoint(p config.Push) (whip.Endpoint, error) {
	e, err := whip.ParseEndpoint(p.URL.Reveal())
	if err == nil && p.Token.IsSet() {
		e, err = e.WithToken(p.Token.Reveal())
	}
	return e, err
}

// destination reads what a [[camera.push]] table says of UDP.
func destination(p config.Push) (udp.Destination, error) {
	dest, err := udp.ParseDestination(p.URL.Reveal())
	if err == nil && p.Token.IsSet() {
		dest, err = dest.WithSecret(p.Token.Reveal())
	}
	if err == nil {
		err = dest.CheckExposure()
	}
	return dest, err
}

// checkPush returns what is wrong with a push of a camera, alone or beside those
// before it.
func checkPush(c *config.Camera, i int) error {
	p := c.Pushes[i]
	if whip.IsEndpoint(p.URL.Reveal()) {
		_, err := endpoint(p)
		return err
	}
	dest, err := destination(p)
	if err != nil {
		return err
	}
	for _, other := range c.Pushes[:i] {
		if before, err := destination(other); err == nil && before.String() == dest.String() {
			return fmt.Errorf("it is pushed to %s already, remove one of the two", dest)
		}
	}
	return nil
}
