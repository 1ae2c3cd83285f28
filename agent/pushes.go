package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lenscast/lenscast/agent/config"
	"github.com/lenscast/lenscast/agent/push"
	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/transport/udp"
)

const (
	// pushQueue is how many pictures may wait for one push: 2 s at 60 fps,
	// which is what catching up with a group of pictures of that length takes
	// at most.
	pushQueue = 120

	// pushPause is the longest pause between two attempts. One costs the
	// network a datagram and the camera nothing, and a receiver that is back
	// should not wait a second for its picture.
	pushPause = 700 * time.Millisecond
)

// runningPush is one push of a running camera.
type runningPush struct {
	*part
	push *push.Push
}

// startPushes starts all pushes of a camera. s.mu is not held.
func (s *supervisor) startPushes(ctx context.Context, c *runningCamera, pushes []config.Push) error {
	var running []*runningPush
	var errs []error
	for _, cfg := range pushes {
		dest, err := destination(cfg)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		pusher, err := udp.New(udp.Params{
			Destination: dest,
			Name:        c.cfg.Name,
			Open: func() udp.Reader {
				return c.stream.Subscribe(stream.AtOnce, pushQueue).As(stream.Push, "push to "+dest.String())
			},
			Clock: &s.clock,
			Log:   s.log.With(logKeyCamera, c.cfg.Name),
		})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p := push.New(push.Params{
			Camera: c.cfg.Name, Destination: dest.String(), Pusher: pusher, MaxPause: pushPause, Log: s.log,
		})
		name := fmt.Sprintf("push of camera %s to %s", c.cfg.Name, dest)
		running = append(running, &runningPush{part: startPart(ctx, name, p.Run, s.partFailed), push: p})
	}
	s.mu.Lock()
	c.pushes = running
	s.mu.Unlock()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("camera %q: %w", c.cfg.Name, err)
	}
	return nil
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

// destination reads what a [[camera.push]] table says.
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

// checkPushes returns what is wrong with the pushes of a configuration.
func checkPushes(cfg *config.Config, file string) config.Problems {
	var problems config.Problems
	for _, c := range cfg.Cameras {
		seen := make(map[string]bool)
		for _, p := range c.Pushes {
			dest, err := destination(p)
			if err == nil && seen[dest.String()] {
				err = fmt.Errorf("it is pushed to %s already, remove one of the two", dest)
			}
			seen[dest.String()] = true
			if err != nil {
				problems = append(problems, config.Problem{
					File: file, Key: "camera.push", Text: fmt.Sprintf("camera %q: %s", c.Name, err),
				})
			}
		}
	}
	return problems
}
