//go:build !linux

package packet

import "time"

// Alarm calls a function when the time it was set to has passed and nobody put
// it off meanwhile.
type Alarm struct{ timer *time.Timer }

// NewAlarm makes an alarm that is not set yet. It calls ring on a goroutine of
// its own. Close must be called on it.
func NewAlarm(ring func()) (*Alarm, error) {
	a := &Alarm{timer: time.AfterFunc(time.Hour, ring)}
	a.timer.Stop()
	return a, nil
}

// Set lets the alarm ring once, after d, and not when it was to ring before.
// It is not safe for concurrent use. After Close it must not be called.
func (a *Alarm) Set(d time.Duration) { a.timer.Reset(d) }

// Close ends the alarm.
func (a *Alarm) Close() { a.timer.Stop() }
