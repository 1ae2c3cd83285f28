package packet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// maxSegments and maxBatch bound one call to the kernel: UDP_MAX_SEGMENTS of
// linux/udp.h before 6.9, and what an IPv6 or IPv4 datagram can hold.
const (
	maxSegments = 64
	maxBatch    = 65507 - 40
)

// ErrFull is returned when the socket's send buffer was full and datagrams
// were dropped.
var ErrFull = errors.New("send buffer full")

// Conn is a UDP socket for many destinations. It never waits: datagrams that
// don't fit in the socket's buffer are dropped and counted, as the network
// itself would do, so that one burst cannot hold up everybody else on the
// socket.
//
// It implements [net.PacketConn] and ice.AddrPortReaderWriter.
type Conn struct {
	*net.UDPConn
	raw     syscall.RawConn
	ipv6    bool
	remote  netip.AddrPort // of a connected socket
	gso     atomic.Bool
	dropped atomic.Uint64
}

// NewConn takes over a socket of network "udp4" or "udp6".
func NewConn(udp *net.UDPConn) (*Conn, error) {
	raw, err := udp.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("get descriptor of UDP socket: %w", err)
	}
	local := udp.LocalAddr().(*net.UDPAddr).AddrPort()
	c := &Conn{UDPConn: udp, raw: raw, ipv6: local.Addr().Is6() && !local.Addr().Is4In6()}
	if remote, ok := udp.RemoteAddr().(*net.UDPAddr); ok {
		c.remote = netip.AddrPortFrom(remote.AddrPort().Addr().Unmap(), uint16(remote.Port))
	}
	c.gso.Store(probeGSO(raw))
	return c, nil
}

// GSO tells whether batches leave in one system call.
func (c *Conn) GSO() bool { return c.gso.Load() }

// Dropped returns how many datagrams found the socket's buffer full.
func (c *Conn) Dropped() uint64 { return c.dropped.Load() }

// ReadFromAddrPort reads a datagram without allocating; what does not fit in b
// is lost.
func (c *Conn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	r := receivers.Get().(*receiver)
	defer receivers.Put(r)
	return r.receive(c, b)
}

// WriteToAddrPort sends one datagram. The error is ErrFull when it was
// dropped.
func (c *Conn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	s := senders.Get().(*sender)
	defer senders.Put(s)
	if err := s.send(c, b, len(b), to); err != nil {
		return 0, err
	}
	return len(b), nil
}

// WriteSegments sends b as datagrams of size bytes, at least 1, of which the last
// may be shorter, in as few system calls as the kernel allows. It sends all of them,
// whatever becomes of one; the error is the first, ErrFull when some were
// dropped.
func (c *Conn) WriteSegments(b []byte, size int, to netip.AddrPort) error {
	s := senders.Get().(*sender)
	defer senders.Put(s)
	most := max(min(maxSegments, maxBatch/size), 1) * size
	var failure error
	for len(b) > 0 {
		n := min(most, len(b))
		if err := s.send(c, b[:n], size, to); err != nil && failure == nil {
			failure = err
		}
		b = b[n:]
	}
	return failure
}

// WriteTo is WriteToAddrPort for a *net.UDPAddr.
func (c *Conn) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("send datagram: %T is not a UDP address", to)
	}
	return c.WriteToAddrPort(b, addr.AddrPort())
}

// send sends b as datagrams of size bytes, the last one may be shorter.
func (s *sender) send(c *Conn, b []byte, size int, to netip.AddrPort) error {
	if len(b) > size && c.gso.Load() {
		err := s.sendOnce(c, b, size, to)
		if err == nil {
			return nil
		}
		refused, forGood := gsoRefused(err)
		if !refused {
			return s.count(c, err, (len(b)+size-1)/size)
		}
		if forGood {
			c.gso.Store(false)
		}
	}
	var failed error
	for len(b) > 0 {
		n := min(size, len(b))
		if err := s.count(c, s.sendOnce(c, b[:n], 0, to), 1); err != nil {
			failed = err
		}
		b = b[n:]
	}
	return failed
}

func (s *sender) count(c *Conn, err error, datagrams int) error {
	if errors.Is(err, ErrFull) {
		c.dropped.Add(uint64(datagrams))
	}
	return err
}

// Batch collects datagrams for one destination, so that those of equal size
// leave in one system call. The zero Batch is ready for use; it is safe for
// concurrent use.
type Batch struct {
	mu      sync.Mutex
	held    int             // Holds without their Flush
	buf     *[maxBatch]byte // nil when empty
	n       int             // bytes in buf
	size    int             // of a datagram in buf
	count   int
	conn    *Conn
	to      netip.AddrPort
	sender  sender
	failure error // first since the last Flush
}

// Hold keeps what is written from now on until Flush. Each Hold needs a Flush.
func (b *Batch) Hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held++
}

// Write sends a datagram on c, at once unless the batch is held. It copies p.
func (b *Batch) Write(c *Conn, p []byte, to netip.AddrPort) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held == 0 {
		return b.sender.send(c, p, len(p), to)
	}
	if b.count > 0 && (to != b.to || c != b.conn || len(p) > b.size || b.n+len(p) > maxBatch) {
		b.send()
	}
	if b.count == 0 {
		if len(p) > maxBatch {
			return fmt.Errorf("send datagram: %d bytes are too many", len(p))
		}
		b.buf = batchBuffers.Get().(*[maxBatch]byte)
		b.conn, b.to, b.size = c, to, len(p)
	}
	b.n += copy(b.buf[b.n:], p)
	b.count++
	// A shorter datagram can only be the last one of a GSO send.
	if len(p) < b.size || b.count == maxSegments {
		b.send()
	}
	return nil
}

// Flush sends what was kept and ends a Hold. The error is the first of all
// sends since the Flush before.
func (b *Batch) Flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held--
	b.send()
	err := b.failure
	b.failure = nil
	return err
}

func (b *Batch) send() {
	if b.count == 0 {
		return
	}
	if err := b.sender.send(b.conn, b.buf[:b.n], b.size, b.to); err != nil && b.failure == nil {
		b.failure = err
	}
	batchBuffers.Put(b.buf)
	b.buf, b.n, b.count = nil, 0, 0
}

// Pools, so that a batch that holds nothing costs nothing.
var (
	batchBuffers = sync.Pool{New: func() any { return new([maxBatch]byte) }}
	senders      = sync.Pool{New: func() any { return new(sender) }}
	receivers    = sync.Pool{New: func() any { return new(receiver) }}
)
