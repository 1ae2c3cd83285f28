package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// reportInterval is how often a receiver of plain RTP reports: as often as
// RFC 4585 lets two do that have 5 % of some Mbit/s for it.
const reportInterval = 200 * time.Millisecond

// rtpSocket receives plain RTP, and RTCP on the port above. Reports are pion's
// (RFC 3550 section 6.4.2), and go to where sender reports come from; what can't
// wait for them goes to where RTP comes from.
type rtpSocket struct {
	media, control *net.UDPConn
	reports        interceptor.Interceptor
	buf            []byte
	from           netip.AddrPort // of RTP
	watched        interceptor.RTPReader
	packet         []byte // that watched is to read

	mu       sync.Mutex
	reporter netip.AddrPort // where sender reports come from
}

// receiveRTP receives RTP from c, which has the given port, until that is closed.
func receiveRTP(ctx context.Context, port int, c *net.UDPConn, j *judge, patience time.Duration) error {
	control, err := listen(ctx, port+1)
	if err != nil {
		return err
	}
	factory, err := report.NewReceiverInterceptor(report.ReceiverInterval(reportInterval))
	if err != nil {
		return err
	}
	s := &rtpSocket{media: c, control: control, buf: make([]byte, 64<<10)}
	if s.reports, err = factory.NewInterceptor(""); err != nil {
		return err
	}
	s.reports.BindRTCPWriter(interceptor.RTCPWriterFunc(func(packets []rtcp.Packet, _ interceptor.Attributes) (int, error) {
		s.mu.Lock()
		to := s.reporter
		s.mu.Unlock()
		return send(control, to, packets)
	}))
	go s.receiveReports()
	go newRTPReceiver(j, patience, s).run()
	return nil
}

// send sends RTCP to an address, if there is one.
func send(from *net.UDPConn, to netip.AddrPort, packets []rtcp.Packet) (int, error) {
	b, err := rtcp.Marshal(packets)
	if err != nil || !to.IsValid() {
		return 0, err
	}
	return from.WriteToUDPAddrPort(b, to)
}

// receiveReports shows what comes to the port of RTCP to reports, until the
// socket is closed.
func (s *rtpSocket) receiveReports() {
	defer s.reports.Close()
	reader := s.reports.BindRTCPReader(interceptor.RTCPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, from, err := s.control.ReadFromUDPAddrPort(b)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err == nil {
			s.reporter = from
		}
		return n, a, err
	}))
	buf := make([]byte, 1500)
	for {
		if _, _, err := reader.Read(buf, nil); errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

func (s *rtpSocket) read() (*rtp.Packet, error) {
	_ = s.media.SetReadDeadline(time.Now().Add(nackInterval)) // fails once it is closed, as Read does
	n, from, err := s.media.ReadFromUDPAddrPort(s.buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := &rtp.Packet{}
	if s.packet = bytes.Clone(s.buf[:n]); p.Unmarshal(s.packet) == nil {
		s.from = from
		return p, s.report(p.SSRC)
	}
	return nil, nil // it is something else
}

// report shows the packet to reports.
func (s *rtpSocket) report(ssrc uint32) error {
	if s.watched == nil {
		s.watched = s.reports.BindRemoteStream(&interceptor.StreamInfo{SSRC: ssrc, ClockRate: 90_000},
			interceptor.RTPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
				return copy(b, s.packet), a, nil
			}))
	}
	_, _, err := s.watched.Read(s.buf, nil)
	return err
}

func (s *rtpSocket) answer(packets []rtcp.Packet) {
	// RTCP begins with a report (RFC 3550 section 6.1), if only an empty one.
	_, _ = send(s.media, s.from, append([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1}}, packets...))
}
