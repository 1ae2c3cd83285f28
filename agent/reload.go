package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/lenscast/lenscast/agent/config"
)

// reload reads the configuration again and restarts what changed. A part that
// can't be started with its new table goes on with its old one; what went
// wrong is a problem in the status until the next reload.
func (s *supervisor) reload(ctx context.Context) {
	next, from, err := s.options.load()
	if err != nil {
		s.reloaded(s.cfg, fmt.Errorf("configuration not reloaded, the old one goes on: %w", err))
		return
	}
	s.warn(next)
	old := s.cfg
	changes := config.Diff(old, next)
	s.log.Info("configuration read again", logKeyFile, from, "changed", changes.String())
	s.out.set(next.Log)

	var errs []error
	for _, name := range append(changes.Removed, changes.Changed...) {
		if err := s.stopCamera(name); err != nil {
			errs = append(errs, fmt.Errorf("camera %q %w", name, err))
		}
	}
	for _, c := range next.Cameras {
		if s.cameras[c.Name] == nil {
			if err := s.startCamera(ctx, c); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if needsNewWebRTC(old, next) {
		if err := s.restartWebRTC(ctx, old, next); err != nil {
			errs = append(errs, err)
			next.WebRTC = old.WebRTC
		}
	}
	if changes.Viewer {
		if err := s.restartWeb(ctx, old, next); err != nil {
			errs = append(errs, err)
			next.Viewer = old.Viewer
		}
	}
	s.reloaded(next, errors.Join(errs...))
}

// reloaded makes cfg the one that runs and shows what went wrong.
func (s *supervisor) reloaded(cfg *config.Config, err error) {
	var problems []string
	if err != nil {
		problems = []string{err.Error()}
		s.log.Error("reload", logKeyError, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg, s.problems = cfg, problems
}

// needsNewWebRTC reports whether the sessions have to end: because of their
// server's own table, or because who may watch has changed.
func needsNewWebRTC(old, next *config.Config) bool {
	was, is := old.Viewer, next.Viewer
	return !reflect.DeepEqual(old.WebRTC, next.WebRTC) || was.MaxViewers != is.MaxViewers ||
		was.Password.Reveal() != is.Password.Reveal() || was.Token.Reveal() != is.Token.Reveal()
}

// restartWebRTC replaces the WebRTC server; the old one comes back when the
// new one can't start.
func (s *supervisor) restartWebRTC(ctx context.Context, old, next *config.Config) error {
	if err := stopForRestart(s.rtc.part); err != nil {
		return err
	}
	err := s.startWebRTC(ctx, next)
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("[webrtc] not reloaded: %w", err), s.startWebRTC(ctx, old))
}

// restartWeb replaces the web server; the old one comes back when the new one
// can't start.
func (s *supervisor) restartWeb(ctx context.Context, old, next *config.Config) error {
	if err := stopForRestart(s.web.part); err != nil {
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
func stopForRestart(p *part) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), restartTimeout,
		fmt.Errorf("did not end within %v", restartTimeout))
	defer cancel()
	if err := p.stop(ctx); err != nil {
		return fmt.Errorf("%s %w", p.name, err)
	}
	return nil
}
