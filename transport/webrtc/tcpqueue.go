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

	// tcpGoodbye is how long a closed connection may still send what waits.
	tcpGoodbye = 300 * time.Millisecond

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
	return newQueueConn(tcp), nil
}

// queueConn is a TCP connection on which Write never waits: it appends to a
// bounded queue, which one goroutine sends in large pieces. A write that does
// not fit is refused whole, so that the framing of RFC 4571 stays intact.
type queueConn struct {
	*net.TCPConn
	drained chan struct{} // closed when nothing is sent any more

	mu      sync.Mutex
	wake    sync.Cond
	waiting []byte
	closed  bool
}

func newQueueConn(tcp *net.TCPConn) *queueConn {
	c := &queueConn{TCPConn: tcp, drained: make(chan struct{})}
	c.wake.L = &c.mu
	go c.drain()
	return c
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
	defer close(c.drained)
	var sending []byte
	for {
		var ok bool
		if sending, ok = c.take(sending); !ok {
			return
		}
		if _, err := c.TCPConn.Write(sending); err != nil {
			_ = c.TCPConn.Close() // its reader hears of it
			return
		}
	}
}

// take waits for something to send, and swaps it for the buffer that was sent.
// It returns false when there is nothing left of a closed connection.
func (c *queueConn) take(sent []byte) (sending []byte, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) == 0 && !c.closed {
		c.wake.Wait()
	}
	if len(c.waiting) == 0 {
		return nil, false
	}
	sending, c.waiting = c.waiting, sent[:0]
	if !c.closed {
		_ = c.SetWriteDeadline(time.Now().Add(tcpStall))
	}
	return sending, true
}

// Close closes the connection as soon as what waits is sent, for at its end is
// the alert of DTLS that tells the viewer so. A viewer that does not read
// holds it up for no longer than tcpGoodbye.
func (c *queueConn) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		_ = c.SetWriteDeadline(time.Now().Add(tcpGoodbye))
		c.wake.Signal()
	}
	c.mu.Unlock()
	<-c.drained
	return c.TCPConn.Close()
}
