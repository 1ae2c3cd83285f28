package dirstore

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slowSync is a file system whose syncs take a second, and fail but for the
// first.
type slowSync struct {
	FS
	syncs int
}

var errBroken = errors.New("broken")

func (f *slowSync) SyncDir(string) error {
	time.Sleep(time.Second)
	if f.syncs++; f.syncs > 1 {
		return errBroken
	}
	return nil
}

// TestDirSyncs has ten callers come while a sync is in progress: they need one
// more, all together, and all hear how it ended.
func TestDirSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys, syncs := &slowSync{}, newDirSyncs()
		begun := time.Now()
		var callers sync.WaitGroup
		callers.Go(func() {
			if err := syncs.sync(fsys, "dir"); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		for range 10 {
			callers.Go(func() {
				if err := syncs.sync(fsys, "dir"); !errors.Is(err, errBroken) {
					t.Errorf("got %v, want %v", err, errBroken)
				}
				if took := time.Since(begun); took < 2*time.Second {
					t.Errorf("served after %v by the sync that had begun before", took)
				}
			})
		}
		callers.Wait()
		if fsys.syncs != 2 {
			t.Errorf("%d syncs, want 2", fsys.syncs)
		}
		if len(syncs.next)+len(syncs.last) != 0 {
			t.Error("something is left")
		}
	})
}
