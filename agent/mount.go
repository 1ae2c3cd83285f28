package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/lenscast/lenscast/agent/config"
)

// checkMount returns nil when something is mounted at the folder that the
// recordings' disk must be mounted at, if there is one. A mounted folder is on
// another device than the one above it, see mountpoint(1).
func checkMount(rec config.Recording) error {
	if rec.Mount == "" {
		return nil
	}
	var at, above unix.Stat_t
	err := unix.Stat(rec.Mount, &at)
	if err == nil {
		err = unix.Stat(filepath.Dir(rec.Mount), &above)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("look what is mounted at %s: %w", rec.Mount, err)
	}
	if err != nil || at.Dev == above.Dev {
		return fmt.Errorf("no disk is mounted at %s, plug it in or mount it", rec.Mount)
	}
	return nil
}

// waitForDisk takes note why nothing is recorded until the folder can be used,
// if that is news, or that it can.
func (s *supervisor) waitForDisk(why error) {
	text := ""
	if why != nil {
		text = "nothing is recorded: " + advised(why).Error()
	}
	s.mu.Lock()
	before := s.diskMissing
	s.diskMissing = text
	s.mu.Unlock()
	switch {
	case text == before:
	case text != "":
		s.log.Error(text)
	default:
		s.log.Info("the folder of the recordings can be used")
	}
}

// followDisk begins to record when the folder can be used, and ends it when the
// disk that is asked for is gone: what is recorded then must not fill another.
func (s *supervisor) followDisk(ctx context.Context) {
	rec := s.cfg.Recording
	missing := checkMount(rec)
	if rec.Dir == "" || (missing == nil) == (s.archive != nil) {
		return
	}
	err := errors.Join(s.stopOffload(ctx), s.restartRecording(ctx, s.cfg, s.cfg), s.restartOffload(ctx, s.cfg, s.cfg))
	if err != nil {
		s.log.Warn("recording followed its disk with trouble", logKeyError, err)
	}
}
