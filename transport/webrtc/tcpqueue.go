package webrtc

import (
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// tcpQueue is how many bytes may wait for a TCP viewer beyond what the
	// kernel holds: a large keyframe and a little.
	tcpQueue = 512 << 10

	// tcpStall is how long TCP may accept nothing before the viewer is gone.
	tcpStall = 10 * time.Second

	// tcpSendBuffer bounds what the kernel holds, which is latency.
	tcpSendBuffer = 128 << 10
)

var errQueueFull = errors.New("TCP queue full")

// queueListener gives every connection a queue of its own.
type queueListener struct{ *net.TCPListener }

func (l queueListener) Accept() (net.Conn, error) {
	tcp, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	_ = tcp.SetWriteBuffer(tcpSendBuffer) // an error means more latency
	c := &queueConn{TCPConn: tcp}
	c.wake.L = &c.mu
	go c.drain()
	return c, nil
}

// queueConn is a TCP connection on which Write never waits: it appends to a
// bounded queue, which one goroutine sends in large pieces. A write that does
// not fit is refused whole, so that the framing of RFC 4571 stays intact.
type queueConn struct {
	*net.TCPConn

	mu      sync.Mutex
	wake    sync.Cond
	waiting []byte
	closed  bool
}

func (c *queueConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	if len(c.waiting)+len(p) > tcpQueue {
		return 0, errQueueFull
	}
	c.waiting = append(c.waiting, p...)
	c.wake.Signal()
	return len(p), nil
}

// drain sends what waits until the connection is closed or fails.
func (c *queueConn) drain() {
	var sending []byte
	for {
		c.mu.Lock()
		for len(c.waiting) == 0 && !c.closed {
			c.wake.Wait()
		}
		if len(c.waiting) == 0 {
			c.mu.Unlock()
			return
		}
		sending, c.waiting = c.waiting, sending[:0]
		c.mu.Unlock()

		// A stalled peer must not hold this goroutine: closing the
		// connection, here or by its owner, ends the write.
		_ = c.SetWriteDeadline(time.Now().Add(tcpStall))
		if _, err := c.TCPConn.Write(sending); err != nil {
			_ = c.Close()
			return
		}
	}
}

// Close closes the connection at once; what waits is lost.
func (c *queueConn) Close() error {
	c.mu.Lock()
	c.closed, c.waiting = true, nil
	c.wake.Signal()
	c.mu.Unlock()
	return c.TCPConn.Close()
}
