// Package wallclock tells the time of day on machines whose clock is wrong until
// NTP has set it, and whether it can be trusted.
package wallclock

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Reading is what the clocks show at one moment.
type Reading struct {
	Wall    time.Time     // the time of day, which may be wrong
	Trusted bool          // Wall goes by NTP
	Boot    time.Duration // since the machine was started, asleep or not
	BootID  string        // of this start of the machine
}

// Clock is a source of readings.
type Clock interface {
	Read() Reading
}

// System is the clock of the machine.
//
// A board without a battery clock starts in 1970, or where it was switched
// off, and jumps when the network comes. So the time of day is trusted from
// the moment the kernel says that NTP keeps it, and from then on it runs with
// the time since boot: if somebody sets the clock, or NTP is lost for a day,
// the recordings go by what NTP said last.
type System struct {
	bootID string

	mu      sync.Mutex
	trusted bool
	offset  time.Time // the time of day at boot, by the last trusted reading
}

var _ Clock = (*System)(nil)

// NewSystem returns the clock of the machine.
func NewSystem() (*System, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("read boot id: %w", err)
	}
	return &System{bootID: strings.TrimSpace(string(id))}, nil
}

// Read implements Clock.
func (c *System) Read() Reading {
	var ts unix.Timespec
	// CLOCK_BOOTTIME is there since Linux 2.6.39 and can't fail.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	r := Reading{Wall: time.Now().Round(0), Boot: time.Duration(ts.Nano()), BootID: c.bootID}

	c.mu.Lock()
	defer c.mu.Unlock()
	if synchronized() {
		c.trusted, c.offset = true, r.Wall.Add(-r.Boot)
	}
	if c.trusted {
		r.Wall, r.Trusted = c.offset.Add(r.Boot), true
	}
	return r
}

// synchronized reports whether NTP keeps the clock (adjtimex(2)). The kernel
// forgets that when somebody sets the clock. Where a service may not ask the
// kernel (ProtectClock= of systemd.exec(5)), systemd-timesyncd tells by a file.
func synchronized() bool {
	const staUnsync = 0x40 // STA_UNSYNC of linux/timex.h
	var tx unix.Timex
	if _, err := unix.Adjtimex(&tx); err == nil {
		return tx.Status&staUnsync == 0
	}
	_, err := os.Stat("/run/systemd/timesync/synchronized")
	return err == nil
}
