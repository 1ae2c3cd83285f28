package dirstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"
)

// sweepEvery is how often what has expired is looked for.
const sweepEvery = time.Hour

// Run removes unfinished files and notes that have expired, now and every hour,
// until ctx ends; it then returns nil.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := s.Sweep(time.Now()); err != nil {
			s.p.Log.Warn("can't remove all that has expired", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Sweep removes what has expired at the time now.
func (s *Store) Sweep(now time.Time) error {
	return errors.Join(
		s.sweep(partialDir, now.Add(-s.p.ExpirePartial)),
		s.sweep(doneDir, now.Add(-s.p.ExpireDone)),
		s.notes.sweep(now.Add(-s.p.ExpireDone)),
	)
}

// sweep removes the files in the folders of dir that were last changed before
// the time limit. A partial file is changed by every byte that comes, so one in
// use is young.
func (s *Store) sweep(dir string, limit time.Time) error {
	agents, err := s.fs.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look for what has expired: %w", err)
	}
	var errs []error
	for _, agent := range agents {
		if !agent.IsDir() {
			continue
		}
		folder := path.Join(dir, agent.Name())
		entries, err := s.fs.ReadDir(folder)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, e := range entries {
			name := path.Join(folder, e.Name())
			info, err := s.fs.Lstat(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil && info.ModTime().Before(limit) && sidecarOrPart(e.Name()) {
				err = s.drop(name)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func sidecarOrPart(name string) bool {
	return strings.HasSuffix(name, ".part") || strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".new")
}
