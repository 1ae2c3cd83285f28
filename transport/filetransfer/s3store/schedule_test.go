package s3store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/filetransfertest"
	"github.com/lenscast/lenscast/transport/filetransfer/s3store"
)

const (
	requestLost = filetransfertest.BackendFaults + iota
	answerLost
	storeFull
	killedInCall
	killedAfterCall
)

// TestSchedules has two receivers that share a bucket, so that a file that one
// has begun goes on with the other, also while the first is still at it.
func TestSchedules(t *testing.T) {
	filetransfertest.Run(t, filetransfertest.Params{
		New:       func(*rand.Rand) filetransfertest.Backend { return &shared{t, fakeServer(t)} },
		Faults:    []string{"request lost", "answer lost", "store full", "killed in a call", "killed after a call"},
		Receivers: 2,
		Schedules: 60,
	})
}

// shared is a bucket that several receivers use. It never loses anything.
type shared struct {
	t *testing.T
	*server
}

// Open opens the store in a process that has a fault of its own ahead.
func (b *shared) Open(w *filetransfertest.World, died func()) (filetransfer.Store, func()) {
	for {
		proc := &process{way: b.transport}
		failAt, kind := 1+w.Rand.IntN(40), requestLost+filetransfertest.Fault(w.Rand.IntN(5))
		proc.fault = func(call int) (error, bool) {
			if call != failAt || !w.Spend(kind) {
				return nil, true
			}
			switch kind {
			case requestLost:
				return errLine, false
			case answerLost:
				return errLine, true
			case storeFull:
				return errFull, false
			}
			proc.kill()
			died()
			return errDead, kind == killedAfterCall
		}
		store, err := s3store.New(context.Background(), b.params("", proc))
		if err == nil {
			return store, proc.kill
		}
	}
}

func (b *shared) PowerCut() {}

func (b *shared) Files() map[string][]byte { return b.files(b.t, "") }

func (b *shared) Guaranteed(name string) ([]byte, error) {
	content, ok := b.Files()[name]
	if !ok {
		return nil, fmt.Errorf("%s is not there", name)
	}
	return content, nil
}
