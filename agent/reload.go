package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/lenscast/lenscast/agent/config"
)

// reload reads the configuration again and restarts what changed. A part that
// can't be started with its new table goes on with its old one; what went
// wrong is a problem in the status until the next reload.
func (s *supervisor) reload(ctx context.Context) {
	next, from, err := s.options.load()
	if err != nil {
		lines := strings.Split(err.Error(), "\n")
		lines[0] = "configuration not reloaded, the old one goes on: " + lines[0]
		s.reloaded(s.cfg, lines)
		return
	}
	s.warn(next)
	old := s.cfg
	changes := config.Diff(old, next)
	s.log.Info("configuration read again", logKeyFile, from, "changed", changes.String())
	s.out.set(next.Log)

	var problems []string
	note := func(err error) {
		if err != nil {
			problems = append(problems, advised(err).Error())
		}
	}
	for _, name := range append(changes.Removed, changes.Changed...) {
		note(s.stopCamera(ctx, name))
	}
	for _, c := range next.Cameras {
		if s.cameras[c.Name] == nil {
			note(s.startCamera(ctx, c, next.WebRTC))
		}
	}
	for _, name := range changes.Pushed {
		note(s.restartPushes(ctx, name, next))
	}
	if changes.Recording || changes.Offload {
		note(s.stopOffload(ctx))
		if changes.Recording {
			note(s.restartRecording(ctx, old, next))
		} else if s.archive != nil {
			s.archive.archive.SetRetention(retention(next))
		}
		note(s.restartOffload(ctx, old, next))
	}
	if needsNewWebRTC(old, next) {
		if err := s.restartWebRTC(ctx, old, next); err != nil {
			note(err)
			next.WebRTC = old.WebRTC
		}
	}
	if needsNewWeb(old, next) {
		if err := s.restartWeb(ctx, old, next); err != nil {
			note(err)
			next.Viewer = old.Viewer
		}
	}
	s.reloaded(next, problems)
}

// reloaded makes cfg the one that runs and tells what went wrong.
func (s *supervisor) reloaded(cfg *config.Config, problems []string) {
	for _, p := range problems {
		s.log.Error(p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg, s.problems = cfg, problems
}

// restartPushes replaces the pushes of a camera that goes on.
func (s *supervisor) restartPushes(ctx context.Context, name string, next *config.Config) error {
	running := s.cameras[name]
	err := s.stopPushes(ctx, running)
	for _, c := range next.Cameras {
		if c.Name == name {
			s.mu.Lock()
			running.cfg = c
			s.mu.Unlock()
			err = errors.Join(err, s.startPushes(ctx, running, c.Pushes, next.WebRTC))
		}
	}
	return err
}

// needsNewWebRTC reports whether the sessions have to end: because of their
// server's own table, or because who may watch has changed.
func needsNewWebRTC(old, next *config.Config) bool {
	was, is := old.Viewer, next.Viewer
	return !reflect.DeepEqual(old.WebRTC, next.WebRTC) || was.MaxViewers != is.MaxViewers ||
		was.Password.Reveal() != is.Password.Reveal() || was.Token.Reveal() != is.Token.Reveal()
}

// needsNewWeb reports whether something of [viewer] changed that the web server
// knows: all but the number of viewers.
func needsNewWeb(old, next *config.Config) bool {
	was, is := old.Viewer, next.Viewer
	was.MaxViewers = is.MaxViewers
	return !reflect.DeepEqual(was, is)
}

// restartWebRTC replaces the WebRTC server. When its ports can't be had, the
// old one comes back.
func (s *supervisor) restartWebRTC(ctx context.Context, old, next *config.Config) error {
	if err := stopForRestart(ctx, s.rtc.part); err != nil {
		return err
	}
	err := s.startWebRTC(ctx, next)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("[webrtc] not reloaded: %w", err)
	if back := s.startWebRTC(ctx, old); back != nil {
		s.partFailed("webrtc", back) // without it nobody could watch
	}
	return err
}

// restartWeb replaces the web server; the old one comes back when the new one
// can't start.
func (s *supervisor) restartWeb(ctx context.Context, old, next *config.Config) error {
	if err := stopForRestart(ctx, s.web.part); err != nil {
		return err
	}
	err := s.startWeb(ctx, next)
	if err == nil {
		s.log.Info("open this address in a browser", logKeyURL, s.web.server.URL())
		return nil
	}
	return errors.Join(fmt.Errorf("[viewer] not reloaded: %w", err), s.startWeb(ctx, old))
}

// stopForRestart ends a part so that a new one can take its port.
func stopForRestart(ctx context.Context, p *part) error {
	ctx, cancel := context.WithTimeoutCause(ctx, restartTimeout,
		fmt.Errorf("did not end within %v", restartTimeout))
	defer cancel()
	if err := p.stop(ctx); err != nil {
		return fmt.Errorf("%s %w", p.name, err)
	}
	return nil
}
