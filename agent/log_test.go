package main

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/agent/config"
)

// buffer is a writer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// take returns what was written since the last time.
func (b *buffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.b.String()
	b.b.Reset()
	return text
}

func TestFormatAndLevelChange(t *testing.T) {
	var b bytes.Buffer
	out := newLogOutput(&b)
	log := out.logger().With("camera", "front") // bound before the change
	out.set(config.Log{Level: config.LogWarn, Format: config.LogText})
	log.Info("hidden")
	log.Warn("first")
	out.set(config.Log{Level: config.LogInfo, Format: config.LogJSON})
	log.Info("second")
	out.Close()
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 2 || !strings.HasSuffix(lines[0], "level=WARN msg=first camera=front") ||
		!strings.HasSuffix(lines[1], `"level":"INFO","msg":"second","camera":"front"}`) {
		t.Errorf("logged\n%s", &b)
	}
}

func TestBursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b buffer
		out := newLogOutput(&b)
		log := out.logger()
		lines := func() []string {
			text := strings.TrimSpace(b.take())
			if text == "" {
				return nil
			}
			return strings.Split(text, "\n")
		}

		for i := range 100 {
			log.Warn("packet lost", "n", i)
		}
		log.With("camera", "back").Warn("packet lost", "n", 0)
		log.Error("packet lost", "n", 0)
		if got := lines(); len(got) != burstFree+2 {
			t.Fatalf("at once %d lines, want the first %d and two of other kinds: %q", len(got), burstFree, got)
		}
		time.Sleep(burstWindow)
		synctest.Wait()
		if got := lines(); len(got) != 1 || !strings.HasSuffix(got[0], "n=99 repeated=95") {
			t.Fatalf("after the window %q, want the last with the count", got)
		}
		log.Warn("packet lost", "n", 100)
		if got := lines(); len(got) != 1 || strings.Contains(got[0], "repeated") {
			t.Errorf("in the next window %q, want the line itself", got)
		}
		for i := range burstFree {
			log.Warn("packet lost", "n", 101+i)
		}
		lines()
		out.Close()
		if got := lines(); len(got) != 1 || !strings.HasSuffix(got[0], "n=105") {
			t.Errorf("at the end %q, want the line that was held back", got)
		}
		time.Sleep(2 * burstWindow)
		synctest.Wait()
		if got := lines(); got != nil {
			t.Errorf("after the end %q", got)
		}
	})
}

func TestManyDifferentMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		out := newLogOutput(&b)
		for i := range 2 * maxBursts {
			out.logger().Info(strings.Repeat("x", i+1))
		}
		if n := strings.Count(b.String(), "\n"); n != 2*maxBursts {
			t.Errorf("%d of %d different lines written", n, 2*maxBursts)
		}
		if n := len(out.burst.open); n > maxBursts {
			t.Errorf("%d windows are open, at most %d may", n, maxBursts)
		}
		out.Close()
	})
}
