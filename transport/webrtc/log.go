package webrtc

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// pionLogs hands what pion logs to slog. What it calls warnings and errors is
// mostly the ordinary life of a connection, so all of it is debug here: what
// matters to people is said by the session that it happened to.
type pionLogs struct{ log *slog.Logger }

func (p pionLogs) NewLogger(scope string) logging.LeveledLogger {
	return pionLog{p.log.With("scope", scope)}
}

type pionLog struct{ log *slog.Logger }

func (p pionLog) enabled() bool { return p.log.Enabled(context.Background(), slog.LevelDebug) }

func (p pionLog) say(msg string) {
	if p.enabled() {
		p.log.Debug(msg)
	}
}

func (p pionLog) sayf(format string, args ...any) {
	if p.enabled() {
		p.log.Debug(fmt.Sprintf(format, args...))
	}
}

func (p pionLog) Trace(string)                      {}
func (p pionLog) Tracef(string, ...any)             {}
func (p pionLog) Debug(string)                      {}
func (p pionLog) Debugf(string, ...any)             {}
func (p pionLog) Info(msg string)                   { p.say(msg) }
func (p pionLog) Infof(format string, args ...any)  { p.sayf(format, args...) }
func (p pionLog) Warn(msg string)                   { p.say(msg) }
func (p pionLog) Warnf(format string, args ...any)  { p.sayf(format, args...) }
func (p pionLog) Error(msg string)                  { p.say(msg) }
func (p pionLog) Errorf(format string, args ...any) { p.sayf(format, args...) }
