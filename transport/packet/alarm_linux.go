package packet

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Alarm calls a function when the time it was set to has passed and nobody put
// it off meanwhile: for what is to be done only when pictures stop, as it is
// put off for every picture.
//
// A [time.Timer] costs more than to send the picture. Set anew, it makes the
// runtime wake a thread to wait for the new time; left alone, it fires between
// the pictures. So the kernel keeps the time (timerfd_create(2)).
type Alarm struct {
	file    *os.File
	raw     syscall.RawConn
	ring    func()
	time    unix.ItimerSpec  // to set, see timerfd_settime(2)
	call    func(fd uintptr) // settime, bound once
	running sync.WaitGroup
}

// NewAlarm makes an alarm that is not set yet. It calls ring on a goroutine of
// its own. Close must be called on it.
func NewAlarm(ring func()) (*Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create timer: %w", err)
	}
	a := &Alarm{file: os.NewFile(uintptr(fd), "timer"), ring: ring}
	if a.raw, err = a.file.SyscallConn(); err != nil {
		a.file.Close()
		return nil, fmt.Errorf("get descriptor of timer: %w", err)
	}
	a.call = a.settime
	a.running.Go(a.wait)
	return a, nil
}

// Set lets the alarm ring once, after d, and not when it was to ring before.
// It is not safe for concurrent use. After Close it does nothing.
func (a *Alarm) Set(d time.Duration) {
	a.time.Value = unix.NsecToTimespec(int64(max(d, 1))) // 0 would never ring
	_ = a.raw.Control(a.call)                            // fails after Close only
}

// settime never waits, so the scheduler of Go need not be told of the call. It
// can't fail: the arguments are valid.
func (a *Alarm) settime(fd uintptr) {
	_, _, _ = unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&a.time)), 0, 0, 0)
}

// Close ends the alarm and waits for a ring that is under way.
func (a *Alarm) Close() {
	_ = a.file.Close() // a timer holds nothing that could be lost
	a.running.Wait()
}

// wait rings until the alarm is closed.
func (a *Alarm) wait() {
	var times [8]byte // that it has gone off since the last read
	for {
		if _, err := a.file.Read(times[:]); err != nil {
			return
		}
		a.ring()
	}
}
