package dirstore_test

import (
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/dirstore"
	"github.com/lenscast/lenscast/transport/filetransfer/filetransfertest"
)

const (
	ioError = filetransfertest.BackendFaults + iota
	diskFull
	powerCutInCall
)

// TestSchedules was seen to fail with each sync, and the removal of the sidecar
// before the move, taken out of the store.
func TestSchedules(t *testing.T) {
	filetransfertest.Run(t, filetransfertest.Params{
		New:       func(r *rand.Rand) filetransfertest.Backend { return newDisk(r) },
		Faults:    []string{"input/output error", "disk full", "power cut within a call"},
		Receivers: 1,
		Schedules: 400,
	})
}

// Open opens the store on the disk as it is, in a process that has a fault of
// its own ahead.
func (d *disk) Open(w *filetransfertest.World, died func()) (filetransfer.Store, func()) {
	for {
		proc := &process{disk: d}
		failAt, kind := w.Rand.IntN(150), ioError+filetransfertest.Fault(w.Rand.IntN(3))
		proc.fault = func(call int, _ string) error {
			if call != failAt || !w.Spend(kind) {
				return nil
			}
			switch kind {
			case ioError:
				return syscall.EIO
			case diskFull:
				return syscall.ENOSPC
			default:
				proc.dead = true
				died()
				return nil
			}
		}
		store, err := dirstore.New(proc, dirstore.Params{})
		if err == nil {
			return store, proc.kill
		}
		if proc.dead {
			d.PowerCut()
		}
	}
}
