package status

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Notifier tells systemd how the service is doing (sd_notify(3)). Where there
// is no systemd its methods do nothing. An error means that systemd did not
// get the note; there is nothing else to do about it than to log it.
type Notifier struct {
	socket   string        // empty without systemd
	watchdog time.Duration // 0 without WatchdogSec=
}

// NewNotifier takes the address of systemd and the time of the watchdog from
// the environment.
func NewNotifier() *Notifier {
	n := &Notifier{socket: os.Getenv("NOTIFY_SOCKET")}
	if pid := os.Getenv("WATCHDOG_PID"); pid == "" || pid == strconv.Itoa(os.Getpid()) {
		// A value that is no number means no watchdog (sd_watchdog_enabled(3)).
		usec, _ := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
		n.watchdog = max(0, time.Duration(usec)*time.Microsecond)
	}
	return n
}

// Ready tells that the start, or a reload, is done.
func (n *Notifier) Ready() error { return n.send("READY=1") }

// Reloading tells that a reload has begun; Ready ends it. systemd compares the
// time with its own clock (sd_notify(3), MONOTONIC_USEC).
func (n *Notifier) Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("read monotonic clock: %w", err)
	}
	return n.send("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
}

// Stopping tells that the end has begun.
func (n *Notifier) Stopping() error { return n.send("STOPPING=1") }

// Status sets the line that "systemctl status" shows.
func (n *Notifier) Status(line string) error {
	return n.send("STATUS=" + strings.ReplaceAll(line, "\n", " "))
}

// RunWatchdog tells systemd that the service is alive, twice in the time that
// systemd allows, for as long as health returns nil. It ends with ctx, or at
// once when systemd has no watchdog for this service. onFault is called with
// every fault: systemd restarts the service when they go on.
func (n *Notifier) RunWatchdog(ctx context.Context, health func() error, onFault func(error)) {
	if n.socket == "" || n.watchdog <= 0 {
		return
	}
	tick := time.NewTicker(max(n.watchdog/2, time.Millisecond))
	defer tick.Stop()
	for {
		err := health()
		if err == nil {
			err = n.send("WATCHDOG=1")
		}
		if err != nil {
			onFault(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (n *Notifier) send(lines ...string) error {
	if n.socket == "" {
		return nil
	}
	// The name of an abstract socket begins with @, which package net turns
	// into a zero byte.
	conn, err := net.Dial("unixgram", n.socket)
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}
