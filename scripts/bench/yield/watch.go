package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"golang.org/x/sys/unix"
)

// watch receives a stream for some time and writes what it saw.
func watch(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("watch", flag.ContinueOnError)
	listen := flags.String("listen", "", "`address` to receive RTP at; RTCP comes to the port above")
	length := flags.Duration("for", time.Minute, "how long, from the first packet")
	at := flags.Duration("at", 0, "when to run the rest of the arguments as a command, from the first packet")
	out := flags.String("out", "", "`file` to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	addr, err := netip.ParseAddrPort(*listen)
	if err != nil {
		return err
	}
	media, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	defer media.Close()
	control, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr.Addr(), addr.Port()+1)))
	if err != nil {
		return err
	}
	defer control.Close()
	w := &watcher{}
	if err := stampArrivals(media); err != nil {
		return err
	}
	var parts sync.WaitGroup
	parts.Go(func() { w.receive(media) })
	parts.Go(func() { w.reports(control) })
	err = w.schedule(ctx, *length, *at, flags.Args())
	media.Close()
	control.Close()
	parts.Wait()
	if err != nil {
		return err
	}
	result, err := w.result()
	if err != nil {
		return err
	}
	return writeJSON(*out, result)
}

// watcher keeps what has arrived.
type watcher struct {
	mu      sync.Mutex
	seen    seen
	stamps  []uint32 // RTP timestamps of seen.Packets
	ssrc    uint32
	first   uint16 // sequence numbers
	highest uint32 // with the count of wraps above 16 bits
	stats   struct{ expected, received uint32 }

	report   *rtcp.SenderReport // the newest
	reportAt time.Time
}

// schedule waits for the first packet, and then for the end.
func (w *watcher) schedule(ctx context.Context, length, at time.Duration, command []string) error {
	deadline := time.Now().Add(20 * time.Second)
	for w.start().IsZero() {
		if time.Now().After(deadline) {
			return errors.New("no live packet came for 20 s")
		}
		time.Sleep(10 * time.Millisecond)
	}
	sleep := func(until time.Time) {
		select {
		case <-time.After(time.Until(until)):
		case <-ctx.Done():
		}
	}
	if at > 0 && len(command) > 0 {
		sleep(w.start().Add(at))
		changed := time.Now()
		if out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("change the link: %w: %s", err, out)
		}
		w.mu.Lock()
		w.seen.Changed = changed
		w.mu.Unlock()
	}
	sleep(w.start().Add(length))
	return ctx.Err()
}

func (w *watcher) start() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen.Start
}

// stampArrivals asks the kernel for the time of arrival of each datagram, so
// that a busy machine does not count.
func stampArrivals(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}); err != nil {
		return err
	}
	return errors.Join(failed, c.SetReadBuffer(4<<20))
}

// stamp reads the kernel's stamp.
func stamp(oob []byte) (time.Time, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return time.Time{}, err
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			s, ns := binary.NativeEndian.Uint64(m.Data), binary.NativeEndian.Uint64(m.Data[8:])
			return time.Unix(int64(s), int64(ns)), nil
		}
	}
	return time.Time{}, errors.New("datagram without a time of arrival")
}

func (w *watcher) receive(c *net.UDPConn) {
	buf, oob := make([]byte, 2048), make([]byte, 128)
	for {
		n, oobn, _, _, err := c.ReadMsgUDP(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 12 {
			continue
		}
		at, err := stamp(oob[:oobn])
		if err != nil {
			continue
		}
		w.take(buf[:n], at)
	}
}

func (w *watcher) take(b []byte, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seq := binary.BigEndian.Uint16(b[2:])
	if w.seen.Start.IsZero() {
		w.seen.Start, w.first, w.highest = at, seq, uint32(seq)
		w.ssrc = binary.BigEndian.Uint32(b[8:])
	}
	if step := int16(seq - uint16(w.highest)); step > 0 {
		w.highest += uint32(step)
	}
	w.seen.Packets = append(w.seen.Packets, arrival{At: at, Bytes: len(b)})
	w.stamps = append(w.stamps, binary.BigEndian.Uint32(b[4:]))
}

// reports takes sender reports and answers each (RFC 3550 section 6.4).
func (w *watcher) reports(c *net.UDPConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		for _, p := range packets {
			if sr, ok := p.(*rtcp.SenderReport); ok {
				if answer := w.answer(sr); answer != nil {
					_, _ = c.WriteToUDPAddrPort(answer, from) // lost like any other datagram
				}
			}
		}
	}
}

func (w *watcher) answer(sr *rtcp.SenderReport) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report, w.reportAt = sr, time.Now()
	expected, received := w.highest-uint32(w.first)+1, uint32(len(w.seen.Packets))
	lost := max(int(expected-w.stats.expected)-int(received-w.stats.received), 0)
	rr := rtcp.ReceptionReport{
		SSRC: sr.SSRC, LastSequenceNumber: w.highest, TotalLost: uint32(max(int(expected)-int(received), 0)),
		LastSenderReport: uint32(sr.NTPTime >> 16),
	}
	if n := expected - w.stats.expected; n > 0 {
		rr.FractionLost = uint8(min(lost*256/int(n), 255))
	}
	w.stats.expected, w.stats.received = expected, received
	b, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{rr}}})
	if err != nil {
		return nil
	}
	return b
}

// result computes the delays with the newest sender report.
func (w *watcher) result() (seen, error) {
	if w.report == nil {
		return seen{}, errors.New("no sender report came")
	}
	const ntpEpoch = 2_208_988_800
	ntp := w.report.NTPTime
	wall := time.Unix(int64(ntp>>32)-ntpEpoch, int64((ntp&0xffffffff)*1e9>>32))
	s := w.seen
	for i, stamp := range w.stamps {
		age := int64(int32(w.report.RTPTime - stamp))
		sentAt := wall.Add(-time.Duration(age * 100_000 / 9))
		s.Packets[i].Delay = s.Packets[i].At.Sub(sentAt)
	}
	s.End = s.Packets[len(s.Packets)-1].At
	s.Lost = max(int(w.highest-uint32(w.first)+1)-len(s.Packets), 0)
	slices.SortStableFunc(s.Packets, func(a, b arrival) int { return a.At.Compare(b.At) })
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return seen{}, err
	}
	s.Load = strings.Join(strings.Fields(string(load))[:2], " ")
	return s, nil
}
