package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// bursts holds back log lines that repeat: the first few are written at once,
// those that follow within the window are counted, and the last of them is
// written with the count when the window ends. A flood of one message costs a
// few lines a window, and no card is written full.
type bursts struct {
	window time.Duration

	mu   sync.Mutex
	open map[burstKey]*burst
}

// burstKey tells what counts as the same line: not the attributes of the line
// itself, which may hold a counter.
type burstKey struct {
	level   slog.Level
	message string
	bound   string
}

// burst is a window that is open.
type burst struct {
	timer *time.Timer
	seen  int
	held  int
	last  slog.Record
	write func(context.Context, slog.Record) error
}

// burstFree is how many lines of a window are written at once.
const burstFree = 5

// maxBursts bounds the windows open at a time. Lines beyond it are written.
const maxBursts = 256

func newBursts(window time.Duration) *bursts {
	return &bursts{window: window, open: make(map[burstKey]*burst)}
}

func (bs *bursts) handle(ctx context.Context, key burstKey, r slog.Record, write func(context.Context, slog.Record) error) error {
	bs.mu.Lock()
	b := bs.open[key]
	if b == nil && len(bs.open) < maxBursts {
		b = &burst{}
		b.timer = time.AfterFunc(bs.window, func() { bs.end(key, b) })
		bs.open[key] = b
	}
	hold := false
	if b != nil {
		b.seen++
		if hold = b.seen > burstFree; hold {
			b.held, b.last, b.write = b.held+1, r.Clone(), write
		}
	}
	bs.mu.Unlock()
	if hold {
		return nil
	}
	return write(ctx, r)
}

// end closes a window and writes what it held back. A handler's error has
// nowhere to go from here: it could not write a line.
func (bs *bursts) end(key burstKey, b *burst) {
	bs.mu.Lock()
	if bs.open[key] == b {
		delete(bs.open, key)
	}
	held, last, write := b.held, b.last, b.write
	b.held = 0
	bs.mu.Unlock()
	if held == 0 {
		return
	}
	if held > 1 {
		last.AddAttrs(slog.Int(logKeyRepeated, held))
	}
	_ = write(context.Background(), last)
}

// close ends all windows.
func (bs *bursts) close() {
	bs.mu.Lock()
	open := make(map[burstKey]*burst, len(bs.open))
	for key, b := range bs.open {
		b.timer.Stop()
		open[key] = b
	}
	bs.mu.Unlock()
	for key, b := range open {
		bs.end(key, b)
	}
}
