package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/lenscast/lenscast/agent/config"
	"github.com/lenscast/lenscast/agent/durable"
	"github.com/lenscast/lenscast/agent/recording"
	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/agent/recording/gallery"
	"github.com/lenscast/lenscast/agent/wallclock"
)

// runningArchive is the folder of recordings with what was made of it.
type runningArchive struct {
	*part
	archive *archive.Archive
	gallery http.Handler
}

// runningRecorder records one camera.
type runningRecorder struct {
	*part
	recorder *recording.Recorder
}

// startArchive opens the folder of recordings, if there is to be one. While it
// can't be used the picture is live all the same, and followDisk looks again.
func (s *supervisor) startArchive(ctx context.Context, cfg *config.Config) error {
	var err error
	if cfg.Recording.Dir != "" {
		if err = checkMount(cfg.Recording); err == nil {
			err = s.openArchive(ctx, cfg)
		}
	}
	s.waitForDisk(err)
	return err
}

func (s *supervisor) openArchive(ctx context.Context, cfg *config.Config) error {
	rec := cfg.Recording
	clock, err := wallclock.NewSystem()
	if err != nil {
		return err
	}
	// Another lenscast would take our running recordings for leftovers of a
	// crash, and finish them.
	lock, err := lockFolder(rec.Dir)
	if err != nil {
		return err
	}
	a, err := archive.Open(archive.Params{
		Dir: rec.Dir, Name: rec.Name, Clock: clock, Log: s.log.With(logKeyPart, "recordings"),
		Retention: retention(cfg), Finished: func(archive.Info) { s.wakeOffload() },
		Ready: func() error { return checkMount(rec) },
	})
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	running := &runningArchive{archive: a, gallery: gallery.New(gallery.Params{Archive: a, Switch: s.recorder})}
	running.part = startPart(ctx, "recordings", func(ctx context.Context) error {
		defer func() { _ = lock.Close() }() // it was only held
		return a.Run(ctx)
	}, s.partFailed)
	s.mu.Lock()
	s.archive = running
	s.mu.Unlock()
	return nil
}

// lockFolder takes the folder of recordings, made if need be, for this process.
func lockFolder(dir string) (io.Closer, error) {
	if err := durable.MkdirAll(durable.OS{}, filepath.Clean(dir)); err != nil {
		return nil, err
	}
	lock, err := durable.Lock(dir)
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("another lenscast records to %s: end it, or choose another folder", dir)
	}
	return lock, err
}

// retention is what a configuration wants to be deleted, and what not.
func retention(cfg *config.Config) archive.Retention {
	rec, off := cfg.Recording, cfg.Offload
	sending := len(off.Servers()) > 0
	return archive.Retention{
		MaxAge: time.Duration(rec.MaxAge), MaxSize: int64(rec.MaxSize), KeepFree: int64(rec.KeepFree),
		KeepUnsent: sending && off.Unsent == config.UnsentKeep,
		DeleteSent: sending && off.After.Delete, SentAge: time.Duration(off.After.Age),
	}
}

func (s *supervisor) stopArchive(ctx context.Context) error {
	running := s.archive
	if running == nil {
		return nil
	}
	s.mu.Lock()
	s.archive = nil
	s.mu.Unlock()
	return stopForRestart(ctx, running.part)
}

// startRecorder records a camera, if there is a folder for it.
func (s *supervisor) startRecorder(ctx context.Context, c *runningCamera, rec config.Recording) {
	if s.archive == nil {
		return
	}
	r := recording.New(recording.Params{
		Camera: c.cfg.Name, Stream: c.stream, Archive: s.archive.archive, Log: s.log,
		Segment: time.Duration(rec.Segment), SegmentSize: int64(rec.SegmentSize), MaxLoss: time.Duration(rec.MaxLoss),
		Audio: rec.Audio, Manual: rec.Mode == config.RecordManual, PreRoll: time.Duration(rec.PreRoll), PreRollSize: int(rec.PreRollSize),
		GapReason: func() string {
			st := c.camera.Status()
			return cmp.Or(st.Reason, string(st.State))
		},
	})
	running := &runningRecorder{part: startPart(ctx, "recorder of "+c.cfg.Name, r.Run, s.partFailed), recorder: r}
	s.mu.Lock()
	c.recorder = running
	s.mu.Unlock()
}

// stopRecorder finishes the recording of a camera.
func (s *supervisor) stopRecorder(ctx context.Context, c *runningCamera) error {
	running := c.recorder
	if running == nil {
		return nil
	}
	s.mu.Lock()
	c.recorder = nil
	s.mu.Unlock()
	return stopForRestart(ctx, running.part)
}

// restartRecording goes on in another folder, or by other rules. When the
// folder can't be had, the old one comes back, unless it is on a disk that is
// waited for.
func (s *supervisor) restartRecording(ctx context.Context, old, next *config.Config) error {
	var errs []error
	for _, c := range s.cameras {
		errs = append(errs, s.stopRecorder(ctx, c))
	}
	errs = append(errs, s.stopArchive(ctx))
	if err := s.startArchive(ctx, next); err != nil && next != old && next.Recording.Mount == "" {
		errs = append(errs, fmt.Errorf("[recording] not reloaded: %w", err))
		next.Recording = old.Recording
		_ = s.startArchive(ctx, next) // what is wrong with that stands in the status
	}
	for _, c := range s.cameras {
		s.startRecorder(ctx, c, next.Recording)
	}
	return errors.Join(errs...)
}

// recorder finds what starts and stops the recording of a camera.
func (s *supervisor) recorder(camera string) gallery.Switch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.cameras[camera]; c != nil && c.recorder != nil {
		return c.recorder.recorder
	}
	return nil
}

// recordings answers the requests for recordings.
func (s *supervisor) recordings(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	running, missing := s.archive, s.diskMissing
	s.mu.Unlock()
	switch {
	case missing != "":
		http.Error(w, missing, http.StatusServiceUnavailable)
		return
	case running == nil:
		http.Error(w, "nothing is recorded, add [recording] with dir to the configuration", http.StatusNotFound)
		return
	}
	running.gallery.ServeHTTP(w, r)
}

// recordOnSignal starts all recordings by SIGUSR1 and stops them by SIGUSR2:
// that is what a script behind a button sends.
func (s *supervisor) recordOnSignal(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.cameras {
		switch {
		case c.recorder == nil:
		case sig == syscall.SIGUSR1:
			c.recorder.recorder.Start()
		default:
			c.recorder.recorder.Stop()
		}
	}
}
