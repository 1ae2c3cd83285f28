package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/lenscast/lenscast/agent/wallclock"
)

// Retention says what is deleted to make room. A running recording never is,
// nor one that is being played or sent.
type Retention struct {
	MaxAge   time.Duration // 0: however old
	MaxSize  int64         // bytes of all recordings together, 0: any
	KeepFree int64         // bytes of the file system that stay free
	// KeepUnsent says that finished recordings wait to be offloaded, and are
	// not deleted before: when the disk is full of them, recording stops.
	KeepUnsent bool
	// DeleteSent says that recordings which are offloaded are deleted, once
	// they are older than SentAge.
	DeleteSent bool
	SentAge    time.Duration
}

// Deletion tells what was deleted and why.
type Deletion struct {
	Info   Info      `json:"recording"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

const (
	// maxDeletions bounds what Status tells of the past.
	maxDeletions = 100

	// sweepEvery is how often age and sizes are looked at when nothing
	// else happens, and how soon a repair that failed is tried again.
	sweepEvery = 30 * time.Second
)

// ErrFull says that there is no room to record and none may be made.
var ErrFull = errors.New("disk full")

// Status describes an archive.
type Status struct {
	Recordings int        `json:"recordings"` // finished
	Bytes      int64      `json:"bytes"`      // of the finished ones
	Free       int64      `json:"free"`       // bytes of the file system
	Unsent     int        `json:"unsent"`     // finished and still to be offloaded
	Repairing  int        `json:"repairing"`  // cut off and not finished yet
	Deletions  []Deletion `json:"deletions"`  // the last 100, newest last
}

// Run finishes what a crash left over and applies the retention, until ctx
// ends.
func (a *Archive) Run(ctx context.Context) error {
	for {
		if err := a.repair(func() bool { return ctx.Err() != nil }); err != nil {
			a.log.Warn("a recording that was cut off can't be finished yet", "error", err)
		}
		if err := a.sweep(0); err != nil {
			a.log.Warn("old recordings can't be deleted", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.changed:
		case <-time.After(sweepEvery):
		}
	}
}

// Room makes sure that n bytes, and what is kept free, are free, and deletes
// for that what may be deleted. The error wraps ErrFull.
func (a *Archive) Room(n int64) error {
	free, err := a.fs.Free(a.dir)
	if err != nil {
		return fmt.Errorf("look for room: %w", err)
	}
	want := a.rules().KeepFree + n
	if free >= want {
		return nil
	}
	if err := a.sweep(n); err != nil {
		return err
	}
	if free, err = a.fs.Free(a.dir); err != nil {
		return fmt.Errorf("look for room: %w", err)
	}
	if free >= want {
		return nil
	}
	return fmt.Errorf("%w: %s free, %s are needed%s", ErrFull, byteCount(free), byteCount(want), a.whyFull())
}

// whyFull tells why nothing more is deleted.
func (a *Archive) whyFull() string {
	st := a.Status()
	if a.rules().KeepUnsent && st.Unsent > 0 {
		return fmt.Sprintf("; %d recordings wait to be offloaded and are not deleted before", st.Unsent)
	}
	return "; no recording is left to be deleted: make room"
}

// sweep deletes what the retention says, with n bytes more to be free.
func (a *Archive) sweep(n int64) error {
	a.cleanup.Lock()
	defer a.cleanup.Unlock()
	free, err := a.fs.Free(a.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range a.plan(a.clock.Read(), free-n) {
		errs = append(errs, a.delete(d.Info.ID, d.Reason))
	}
	return errors.Join(errs...)
}

// plan chooses what is to be deleted: the oldest first, and no more than
// needed.
func (a *Archive) plan(now wallclock.Reading, free int64) []Deletion {
	a.mu.Lock()
	defer a.mu.Unlock()
	var total int64
	for _, i := range a.finished {
		total += i.Size
	}
	for _, i := range a.running {
		total += i.Size
	}
	r := a.retention
	ages := a.ages(now)
	var plan []Deletion
	for n, i := range a.finished {
		if a.reading[i.ID] > 0 || r.KeepUnsent && i.Unsent() {
			continue
		}
		var reason string
		switch {
		case r.DeleteSent && i.Offloaded != nil && ages[n] >= r.SentAge:
			reason = "offloaded to " + i.Offloaded.To
		case r.MaxAge > 0 && ages[n] > r.MaxAge:
			reason = fmt.Sprintf("older than %v", r.MaxAge)
		case r.MaxSize > 0 && total > r.MaxSize:
			reason = fmt.Sprintf("all recordings together are larger than %s", byteCount(r.MaxSize))
		case free < r.KeepFree:
			reason = fmt.Sprintf("less than %s free", byteCount(r.KeepFree))
		default:
			continue
		}
		total -= i.Size
		free += i.Size
		plan = append(plan, Deletion{Info: i, Reason: reason})
	}
	return plan
}

// ages returns how old each finished recording is at least. The caller holds
// the mutex.
func (a *Archive) ages(now wallclock.Reading) []time.Duration {
	ages := make([]time.Duration, len(a.finished))
	// From the newest back to the oldest: boot is the boot that is looked
	// at, until its last known moment, and since how long ago it began.
	boot, until, since := now.BootID, now.Boot, time.Duration(0)
	var newer time.Duration // the age of the one that came after
	for n, i := range slices.Backward(a.finished) {
		end := time.Duration(i.End.Boot)
		if i.BootID != boot {
			// It ended before that boot began, who knows how long.
			since += until
			boot, until = i.BootID, end
		}
		age := since + until - end
		if i.WallTrusted && now.Trusted {
			age = now.Wall.Sub(i.End.Wall)
		}
		ages[n] = max(age, newer)
		newer = ages[n]
	}
	return ages
}

// Delete deletes a finished recording.
func (a *Archive) Delete(id, reason string) error {
	a.cleanup.Lock()
	defer a.cleanup.Unlock()
	return a.delete(id, reason)
}

func (a *Archive) delete(id, reason string) error {
	i, err := a.Get(id)
	if err != nil {
		return err
	}
	// The recording goes first: an Info alone is cleared away at the next
	// start.
	if err := a.fs.Remove(a.path(id, mediaSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete recording: %w", err)
	}
	a.delist(Deletion{Info: i, Reason: reason, At: a.clock.Read().Wall.UTC().Truncate(time.Millisecond)})
	a.clear(a.path(id, infoSuffix))
	dir := filepath.Dir(a.path(id, ""))
	if err := a.fs.SyncDir(dir); err != nil {
		return fmt.Errorf("delete recording: %w", err)
	}
	if dir != a.dir {
		_ = a.fs.Remove(dir) // fails unless that was the last of its day
	}
	return nil
}

// delist takes a recording off the list and notes why.
func (a *Archive) delist(d Deletion) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := a.find(d.Info.ID); n >= 0 {
		a.finished = slices.Delete(a.finished, n, n+1)
	}
	delete(a.taken, d.Info.ID)
	a.deletions = append(a.deletions, d)
	if len(a.deletions) > maxDeletions {
		a.deletions = slices.Delete(a.deletions, 0, len(a.deletions)-maxDeletions)
	}
	a.log.Info("recording deleted", "recording", d.Info.ID, "reason", d.Reason, "bytes", d.Info.Size)
}

// Status returns what the archive holds now.
func (a *Archive) Status() Status {
	free, _ := a.fs.Free(a.dir) // 0 says it as well
	a.mu.Lock()
	defer a.mu.Unlock()
	st := Status{
		Recordings: len(a.finished), Free: free, Repairing: len(a.leftovers) + a.repairing,
		Deletions: slices.Clone(a.deletions),
	}
	for _, i := range a.finished {
		st.Bytes += i.Size
		if i.Unsent() {
			st.Unsent++
		}
	}
	return st
}

// byteCount prints as people write it in the configuration: "2.0 GiB".
type byteCount int64

// String implements fmt.Stringer.
func (b byteCount) String() string {
	const units = "KMGTPE"
	f, n := float64(b), -1
	for f >= 1024 && n < len(units)-1 {
		f, n = f/1024, n+1
	}
	if n < 0 {
		return fmt.Sprintf("%d B", int64(b))
	}
	return fmt.Sprintf("%.1f %ciB", f, units[n])
}
