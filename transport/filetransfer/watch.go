package filetransfer

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// watchedConn is a connection that must make progress. A deadline for a whole
// file would cut slow links that are alive, and none would let a peer hold a
// place for ever with a byte now and then; so the rule is so many bytes in so
// much time, over and over.
type watchedConn struct {
	net.Conn

	mu     sync.Mutex
	cause  error // why reading has to stop
	peeked []byte
	window time.Duration
	least  int // bytes wanted per window
	start  time.Time
	got    int
}

// expect sets the rule from now on: at least so many bytes in every window.
func (c *watchedConn) expect(least int, window time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.least, c.window = least, window
	c.restart(time.Now())
}

// interrupt makes the Read in progress and all later ones fail with cause.
func (c *watchedConn) interrupt(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.cause = cause
		_ = c.SetReadDeadline(time.Unix(1, 0)) // fails only when closed: then reading ends too
	}
}

// restart begins a window. The caller holds mu.
func (c *watchedConn) restart(now time.Time) {
	c.start, c.got = now, 0
	if c.cause == nil {
		_ = c.SetReadDeadline(now.Add(c.window)) // fails only when closed
	}
}

// Read reads from the connection. It returns an [*Error] with CodeSlow when
// the rule is broken.
func (c *watchedConn) Read(p []byte) (int, error) {
	if len(c.peeked) > 0 {
		n := copy(p, c.peeked)
		c.peeked = c.peeked[n:]
		return n, nil
	}
	for {
		n, err := c.Conn.Read(p)
		again, err := c.account(n, err)
		if !again {
			return n, err
		}
	}
}

// account judges what a Read returned, and whether it should be tried again.
func (c *watchedConn) account(n int, err error) (again bool, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got += n
	if c.cause != nil && err != nil {
		return false, c.cause
	}
	now, timeout := time.Now(), errors.Is(err, os.ErrDeadlineExceeded)
	if !timeout && now.Sub(c.start) < c.window {
		return false, err
	}
	if c.got < c.least {
		return false, errorf(CodeSlow, "%d bytes in %v, at least %d are needed", c.got, c.window, c.least)
	}
	c.restart(now)
	if timeout {
		return n == 0, nil
	}
	return false, err
}

// peek returns the first byte without taking it.
func (c *watchedConn) peek() (byte, error) {
	var b [1]byte
	n, err := c.Read(b[:])
	if n == 0 {
		return 0, err
	}
	c.peeked = b[:]
	return b[0], nil
}
