package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lenscast/lenscast/agent/config"
)

// The keys of log lines.
const (
	logKeyPart     = "part"
	logKeyCamera   = "camera"
	logKeyError    = "error"
	logKeyFile     = "file"
	logKeyURL      = "url"
	logKeyVersion  = "version"
	logKeyRepeated = "repeated"
)

// logOutput is where all log lines go. Level and format can be changed while
// it is in use.
type logOutput struct {
	level slog.LevelVar
	json  atomic.Bool
	burst *bursts
	both  formats
}

// formats is a handler for each format.
type formats struct{ text, json slog.Handler }

// burstWindow is how long repeats of a log line are only counted.
const burstWindow = 10 * time.Second

func newLogOutput(w io.Writer) *logOutput {
	o := &logOutput{burst: newBursts(burstWindow)}
	o.both.json = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: &o.level})
	timeFormat := time.TimeOnly
	if isJournal(w) {
		timeFormat = "" // the journal has its own
	}
	o.both.text = slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: &o.level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) > 0 || a.Key != slog.TimeKey {
				return a
			}
			if timeFormat == "" {
				return slog.Attr{}
			}
			return slog.String(a.Key, a.Value.Time().Format(timeFormat))
		},
	})
	return o
}

// set changes level and format.
func (o *logOutput) set(c config.Log) {
	o.level.Set(c.Level.Slog())
	o.json.Store(c.Format == config.LogJSON)
}

func (o *logOutput) logger() *slog.Logger { return slog.New(logHandler{o: o, formats: o.both}) }

// Close writes the counts of repeated lines that are still held back.
func (o *logOutput) Close() { o.burst.close() }

// logHandler is a handler whose format can change after attributes were bound
// to it.
type logHandler struct {
	o *logOutput
	formats
	bound string // the attributes bound so far, which tell repeats apart
}

func (h logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.o.level.Level() }

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	key := burstKey{level: r.Level, message: r.Message, bound: h.bound}
	return h.o.burst.handle(ctx, key, r, h.write)
}

func (h logHandler) write(ctx context.Context, r slog.Record) error {
	if h.o.json.Load() {
		return h.json.Handle(ctx, r)
	}
	return h.text.Handle(ctx, r)
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.text, h.json = h.text.WithAttrs(attrs), h.json.WithAttrs(attrs)
	h.bound += fmt.Sprint(attrs)
	return h
}

func (h logHandler) WithGroup(name string) slog.Handler {
	h.text, h.json = h.text.WithGroup(name), h.json.WithGroup(name)
	h.bound += name
	return h
}

// isJournal reports whether w is connected to the journal (systemd.exec(5),
// JOURNAL_STREAM).
func isJournal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
