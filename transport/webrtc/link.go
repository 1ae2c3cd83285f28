package webrtc

import (
	"context"
	"sync"
)

// link tells whether the other end is heard, which means that it answers the
// checks of ICE.
type link struct {
	mu   *sync.Mutex
	up   chan struct{} // closed while it is heard
	down chan struct{} // closed while it is not
}

func newLink() link {
	l := link{mu: new(sync.Mutex), up: make(chan struct{}), down: make(chan struct{})}
	close(l.down)
	return l
}

// set says how it is now.
func (l *link) set(up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	is, other := &l.up, &l.down
	if !up {
		is, other = other, is
	}
	if !closed(*is) {
		close(*is)
		*other = make(chan struct{})
	}
}

// isUp returns a channel that is closed when the other end is heard.
func (l *link) isUp() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up
}

// isDown returns a channel that is closed when the other end is not heard.
func (l *link) isDown() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}

// whileUp returns a context that ends with ctx, or when the other end is not
// heard. cancel has to be called.
func (l *link) whileUp(ctx context.Context) (up context.Context, cancel context.CancelFunc) {
	up, cancel = context.WithCancel(ctx)
	down := l.isDown()
	go func() {
		defer cancel()
		select {
		case <-down:
		case <-up.Done():
		}
	}()
	return up, cancel
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// event is something that happens once.
type event struct {
	once sync.Once
	c    chan struct{} // closed when it has happened
}

func (e *event) set() { e.once.Do(func() { close(e.c) }) }

func (e *event) isSet() bool { return closed(e.c) }
