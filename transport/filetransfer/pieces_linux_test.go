package filetransfer_test

import (
	"context"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// TestPieces sends little at a time when the rate is low, also when the rate is
// set while the connection is being made.
func TestPieces(t *testing.T) {
	r := startReceiver(t, nil)
	const mss = 1460
	largest := 0
	var s *filetransfer.Sender
	s = newSender(t, r.addr, func(p *filetransfer.SenderParams) {
		p.Pace = func(_ context.Context, n int) error {
			largest = max(largest, n)
			return nil
		}
		p.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if err := s.SetPacing(2e6); err != nil {
				t.Error(err)
			}
			d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
				// As over Ethernet: loopback has segments of 64 KiB.
				return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, mss) })
			}}
			return d.DialContext(ctx, network, address)
		}
	})
	u := upload("a.mp4", noise(1, 100_000))
	if _, err := s.Send(t.Context(), u, nil); err != nil {
		t.Fatal(err)
	}
	if largest < mss || largest > 2*mss {
		t.Errorf("handed over up to %d bytes at once, want about two segments of %d", largest, mss)
	}
	if info, ok := s.TCPInfo(); !ok || info.PacingRate > 2e6 {
		t.Errorf("TCP_INFO is %+v, %v", info, ok)
	}
}
