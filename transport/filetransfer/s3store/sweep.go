package s3store

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// sweepEvery is how often what has expired is looked for.
const sweepEvery = time.Hour

// Run removes unfinished uploads and records that have expired, now and every
// hour, until ctx ends; it then returns nil. Of several receivers any may do it.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := s.Sweep(ctx, time.Now()); err != nil && ctx.Err() == nil {
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
func (s *Store) Sweep(ctx context.Context, now time.Time) error {
	limit := now.Add(-s.p.ExpirePartial)
	alive := make(map[string]bool) // ids of uploads
	partial := s.b.list(ctx, partialDir+"/", func(o object) error {
		r, _, err := s.b.readRecord(ctx, o.name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // finished meanwhile
		}
		if err != nil {
			return err
		}
		if !o.modified.Before(limit) {
			alive[r.Upload] = true
			return nil
		}
		if r.Upload != "" && fs.ValidPath(r.Final) {
			err = s.b.abort(ctx, r.Final, r.Upload)
		}
		return errors.Join(err, s.b.remove(ctx, o.name))
	})
	done := s.b.list(ctx, doneDir+"/", func(o object) error {
		if o.modified.Before(now.Add(-s.p.ExpireDone)) {
			return s.b.remove(ctx, o.name)
		}
		return nil
	})
	if partial != nil {
		return errors.Join(partial, done) // without all records nobody knows which uploads are alive
	}
	return errors.Join(done, s.sweepUploads(ctx, limit, alive))
}

// sweepUploads throws away uploads begun before the time limit that no record
// speaks of: a receiver was cut off between the two. MinIO lists none of them
// here, and clears its own.
func (s *Store) sweepUploads(ctx context.Context, limit time.Time, alive map[string]bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var errs []error
	for u := range s.b.core.ListIncompleteUploads(ctx, s.b.name, s.b.prefix, true) {
		switch {
		case u.Err != nil:
			errs = append(errs, wrap("list uploads below", s.b.prefix, u.Err))
		case u.Initiated.Before(limit) && !alive[u.UploadID]:
			errs = append(errs, wrap("abort", u.Key, s.b.core.AbortMultipartUpload(ctx, s.b.name, u.Key, u.UploadID)))
		}
	}
	return errors.Join(errs...)
}
