// Package quota tells how much an agent may still bring into a store.
//
// What is kept is counted by the store, which is slow, now and then, and kept
// up to date in between. What is on its way counts as kept.
package quota

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

const (
	// maxAge is how long a count of what an agent keeps is good: people
	// delete files behind the store's back.
	maxAge = 5 * time.Minute
	// retry is what a sender should wait when there is no room.
	retry = 5 * time.Minute
)

// Ledger knows what agents keep. Its methods may be called from several
// goroutines.
type Ledger struct {
	count func(ctx context.Context, agent string) (int64, error)

	mu       sync.Mutex
	kept     map[string]*kept // by agent
	reserved map[string]int64 // bytes on their way, by agent
}

type kept struct {
	bytes   int64
	counted time.Time
}

// New returns a ledger that counts what an agent keeps, in bytes, by count.
func New(count func(ctx context.Context, agent string) (int64, error)) *Ledger {
	return &Ledger{count: count, kept: make(map[string]*kept), reserved: make(map[string]int64)}
}

// Reserve notes that bytes are on their way. It returns a [*filetransfer.Error]
// with CodeFull when they go beyond limit together with what the agent keeps;
// 0 is no limit. Each success needs a Release.
func (l *Ledger) Reserve(ctx context.Context, agent string, bytes, limit int64) error {
	var used int64
	if limit > 0 {
		var err error
		if used, err = l.used(ctx, agent); err != nil {
			return fmt.Errorf("count what %s keeps: %w", agent, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	used += l.reserved[agent]
	if limit > 0 && used+bytes > limit {
		return &filetransfer.Error{
			Code: filetransfer.CodeFull, RetryAfter: retry,
			Reason: fmt.Sprintf("%s keeps %d bytes here, its quota is %d", agent, used, limit),
		}
	}
	l.reserved[agent] += bytes
	return nil
}

// Release notes that bytes which were reserved are no longer on their way.
func (l *Ledger) Release(agent string, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reserved[agent] -= bytes; l.reserved[agent] == 0 {
		delete(l.reserved, agent)
	}
}

// Add notes bytes that are kept from now on.
func (l *Ledger) Add(agent string, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.kept[agent]; k != nil {
		k.bytes += bytes
	}
}

func (l *Ledger) used(ctx context.Context, agent string) (int64, error) {
	l.mu.Lock()
	k := l.kept[agent]
	if k != nil && time.Since(k.counted) < maxAge {
		defer l.mu.Unlock()
		return k.bytes, nil
	}
	l.mu.Unlock()
	counted := time.Now()
	bytes, err := l.count(ctx, agent)
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept[agent] = &kept{bytes, counted}
	return bytes, nil
}
