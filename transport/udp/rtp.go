package udp

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/lenscast/lenscast/transport/packet"
)

const (
	rtpHeader      = 12 // bytes, RFC 3550 section 5.1
	rtpPayloadType = 96 // the first dynamic one, RFC 3551 section 6
)

// rtpStream cuts pictures into RTP packets (RFC 6184, packetization mode 1),
// and describes them.
type rtpStream struct {
	packetizer *packet.Packetizer
	dest       Destination
	name       string
	reports    *senderReports
	history    history
	repair     *packet.Repair // of the current run
	seq        uint16
	offset     uint32 // added to all timestamps

	mu       sync.Mutex
	sps, pps []byte
	sdp      string
	to       netip.Addr
	sdpError error // of the last write of the file
}

func newRTPStream(d Destination, name string, packetizer *packet.Packetizer, ssrc, random uint32) *rtpStream {
	return &rtpStream{
		packetizer: packetizer,
		dest:       d,
		name:       name,
		reports:    newSenderReports(ssrc),
		repair:     packet.NewRepair(func([]uint16) {}),
		seq:        uint16(random),
		offset:     random,
	}
}

func (s *rtpStream) timestamp(pts time.Duration) uint32 {
	return s.offset + uint32((int64(pts)*9+50_000)/100_000) // 90 kHz, rounded
}

func (s *rtpStream) picture(d *datagrams, pic picture) {
	if pic.Key {
		s.describe(pic)
	}
	timestamp := s.timestamp(pic.pts)
	payloads := s.packetizer.Picture(pic.AccessUnit)
	s.history.mu.Lock()
	for i, payload := range payloads.Payloads {
		s.append(d, timestamp, i == len(payloads.Payloads)-1, payload)
	}
	s.history.mu.Unlock()
	s.reports.sent(timestamp, pic.Captured, len(payloads.Payloads), payloads.Size)
	s.repair.Sent(len(payloads.Payloads), payloads.Size, time.Now())
}

// idle: between pictures RTP has nothing to say.
func (s *rtpStream) idle(*datagrams, time.Duration) {}

// append adds a packet (RFC 3550 section 5.1): version 2, no padding,
// extension or contributing sources. s.history.mu is held.
func (s *rtpStream) append(d *datagrams, timestamp uint32, marker bool, payload []byte) {
	second := byte(rtpPayloadType)
	if marker {
		second |= 0x80
	}
	start := len(d.buf)
	d.buf = append(d.buf, 0x80, second)
	d.buf = binary.BigEndian.AppendUint16(d.buf, s.seq)
	d.buf = binary.BigEndian.AppendUint32(d.buf, timestamp)
	d.buf = binary.BigEndian.AppendUint32(d.buf, s.reports.ssrc)
	s.history.add(d.buf[start:], payload)
	d.buf = append(d.buf, payload...)
	d.end()
	s.seq++
}

// delimiter is a packet that means nothing to a decoder: an access unit
// delimiter on its own.
func (s *rtpStream) delimiter() []byte {
	var d datagrams
	s.history.mu.Lock()
	defer s.history.mu.Unlock()
	s.append(&d, s.offset, true, []byte{0x09, 0xf0})
	return d.buf
}

// describe renews the session description when the parameter sets are new.
func (s *rtpStream) describe(pic picture) {
	sps, pps := pic.ParameterSets()
	if len(sps) == 0 || len(pps) == 0 || len(sps[0]) < 4 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if string(s.sps) == string(sps[0]) && string(s.pps) == string(pps[0]) && s.sdp != "" {
		return
	}
	s.sps, s.pps = sps[0], pps[0]
	s.write()
}

// setAddress tells what the name of the destination stands for now.
func (s *rtpStream) setAddress(to netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if to == s.to {
		return
	}
	s.to = to
	if s.sps != nil {
		s.write()
	}
}

// multicast tells whether the destination is a group.
func (s *rtpStream) multicast() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.to.IsMulticast()
}

// write makes the description (RFC 8866; RFC 6184 section 8.2.1) and puts it
// into the file. The parameter sets stand in it, so that a receiver can start
// with the first IDR it gets.
func (s *rtpStream) write() {
	family, ttl := "IP4", ""
	if s.to.Is6() {
		family = "IP6"
	} else if s.to.IsMulticast() {
		ttl = fmt.Sprintf("/%d", max(s.dest.TTL, 1))
	}
	name := strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, s.name)
	if name == "" {
		name = "-"
	}
	to := s.to.WithZone("")
	base64 := base64.StdEncoding.EncodeToString
	s.sdp = fmt.Sprintf("v=0\r\no=- %d 1 IN %s %s\r\ns=%s\r\nc=IN %s %s%s\r\nt=0 0\r\n"+
		"m=video %d RTP/AVP %d\r\na=rtpmap:%d H264/90000\r\n"+
		"a=fmtp:%d packetization-mode=1;profile-level-id=%X;sprop-parameter-sets=%s,%s\r\n",
		s.reports.ssrc, family, to, name, family, to, ttl,
		s.dest.Port, rtpPayloadType, rtpPayloadType,
		rtpPayloadType, s.sps[1:4], base64(s.sps), base64(s.pps))
	if s.dest.SDPFile != "" {
		s.sdpError = replaceFile(s.dest.SDPFile, s.sdp)
	}
}

// replaceFile writes a file so that readers see the old or the new one whole.
func replaceFile(path, content string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write session description: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // is there only after a failure
	_, err = f.WriteString(content)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write session description %s: %w", path, err)
	}
	return nil
}

func (s *rtpStream) description() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sdp
}

// fileError returns what kept the description from its file, once.
func (s *rtpStream) fileError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.sdpError
	s.sdpError = nil
	return err
}

// runRTP sends RTP, and RTCP from and to the port above (RFC 3550 section 11).
func (p *Pusher) runRTP(ctx context.Context) error {
	d := p.p.Destination
	conn, to, err := dial(ctx, d, d.Port)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := p.probe(conn, p.rtp.delimiter()); err != nil {
		return err
	}
	control, controlTo, err := dial(ctx, d, d.Port+1)
	if err != nil {
		return err
	}
	p.rtp.setAddress(to.Addr())
	reader := p.p.Open()
	f := &flow{
		cut:    p.rtp,
		link:   udpLink{conn: conn, to: to},
		pacer:  packet.NewPacer(p.p.Clock),
		count:  &p.count,
		direct: true,
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Receivers that multiplex send reports to the port of RTP (RFC 5761); many
	// others do not listen for RTCP at all, which is no fault.
	receiver := newFollower(f, reader)
	p.rtp.repair = packet.NewRepair(func(numbers []uint16) { p.resend(conn, to, numbers) })
	defer p.rtp.repair.Close()
	received := func(b []byte) { p.receiveRTCP(b, receiver) }
	defer watch(conn, received, cancel)()
	defer watch(control, received, func(error) {})()
	p.changeReceivers(1)

	reporter := newReporter(p.rtp, control, controlTo, time.Now())
	f.sent = reporter.report
	var reports sync.WaitGroup
	reports.Go(func() { p.reportRTP(ctx, reporter) })
	err = p.noteRefusal(f.run(ctx, reader))
	cancel(nil)
	reports.Wait()
	return err
}
