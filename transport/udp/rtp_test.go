package udp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/transport/packet"
	"github.com/lenscast/lenscast/transport/udp/internal/clip"
)

func testRTPStream(t testing.TB, url string) *rtpStream {
	t.Helper()
	d, err := ParseDestination(url)
	if err != nil {
		t.Fatal(err)
	}
	return newRTPStream(d, "hero", packet.NewPacketizer(d.PacketSize-rtpHeader), 0x1234, 0xfffffff0)
}

func TestRTPPackets(t *testing.T) {
	s := testRTPStream(t, "rtp://192.0.2.1:5000")
	var seq uint16 = 0xfff0
	for i, au := range clip.Synthetic(40, 30, 10, 3000, 9000) {
		var d datagrams
		s.picture(&d, picture{au, au.PTS})
		start := 0
		for n, end := range d.ends {
			b := d.buf[start:end]
			start = end
			var p rtp.Packet
			if err := p.Unmarshal(b); err != nil {
				t.Fatal(err)
			}
			if len(b) > 1360 || p.SequenceNumber != seq || p.SSRC != 0x1234 || p.PayloadType != 96 ||
				p.Timestamp != 0xfffffff0+uint32(i*3000) || p.Marker != (n == len(d.ends)-1) {
				t.Fatalf("picture %d packet %d: %v", i, n, p.Header)
			}
			seq++
		}
	}
}

func TestSDP(t *testing.T) {
	for url, connection := range map[string]string{
		"rtp://192.0.2.1:5000":       "c=IN IP4 192.0.2.1\r\n",
		"rtp://239.1.2.3:5000?ttl=4": "c=IN IP4 239.1.2.3/4\r\n",
		"rtp://[2001:db8::1]:5000":   "c=IN IP6 2001:db8::1\r\n",
	} {
		s := testRTPStream(t, url)
		to, err := resolve(t.Context(), s.dest.Host)
		if err != nil {
			t.Fatal(err)
		}
		s.setAddress(to)
		au := clip.Synthetic(1, 30, 30, 10, 10)[0]
		s.describe(picture{au, 0})
		for _, want := range []string{connection, "m=video 5000 RTP/AVP 96\r\n", "s=hero\r\n", "profile-level-id=42C01F;", "sprop-parameter-sets=Z0LAHwE=,aAECAw=="} {
			if !strings.Contains(s.description(), want) {
				t.Errorf("%s: no %q in\n%s", url, want, s.description())
			}
		}
	}
}

// TestReporter sends pictures at 100 fps: reports go with them, the first after
// 50 ms and one in 250 ms from then on.
func TestReporter(t *testing.T) {
	receiver, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	to := receiver.LocalAddr().(*net.UDPAddr).AddrPort()
	conn, _, err := dial(t.Context(), Destination{Kind: RTP, Host: "127.0.0.1"}, to.Port())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	s := testRTPStream(t, "rtp://127.0.0.1:5000")
	r := newReporter(s, conn, to, began)
	r.report(began.Add(time.Second)) // before the first picture there is nothing to report
	s.reports.sent(90_000, began, 1, 1000)
	var due []time.Duration
	for after := time.Duration(0); after < time.Second; after += 10 * time.Millisecond {
		before := s.reports.next
		if r.report(began.Add(after)); s.reports.next != before {
			due = append(due, after)
		}
	}
	want := []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, 550 * time.Millisecond, 800 * time.Millisecond}
	if !slices.Equal(due, want) {
		t.Errorf("reports were due after %v, want %v", due, want)
	}
	buf := make([]byte, 1500)
	for range want {
		_ = receiver.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := receiver.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			t.Fatal(err)
		}
		if sr, ok := packets[0].(*rtcp.SenderReport); !ok || sr.SSRC != 0x1234 {
			t.Errorf("no sender report came, but %v", packets)
		}
	}
}

func TestSenderReportTellsCaptureTime(t *testing.T) {
	r := newSenderReports(7)
	now := time.Now()
	if r.report(now, "x") != nil {
		t.Error("a report before the first picture")
	}
	captured := now.Add(-80 * time.Millisecond)
	r.sent(90_000, captured, 10, 12_000)
	packets, err := rtcp.Unmarshal(r.report(now, "camera@lenscast"))
	if err != nil {
		t.Fatal(err)
	}
	sr := packets[0].(*rtcp.SenderReport)
	// The instant at which the picture with timestamp 90000 was captured.
	age := time.Duration(sr.RTPTime-90_000) * time.Second / 90_000
	seconds := float64(sr.NTPTime>>32) - ntpEpoch + float64(uint32(sr.NTPTime))/(1<<32) - age.Seconds()
	if d := seconds - float64(captured.UnixNano())/1e9; d < -0.001 || d > 0.001 {
		t.Errorf("the report says captured %.4f s late", d)
	}
	if sr.PacketCount != 10 || sr.OctetCount != 12_000 || sr.SSRC != 7 {
		t.Errorf("%v", sr)
	}

	// A clock that was set must not make nonsense.
	r.sent(180_000, now.Add(-48*time.Hour), 1, 1)
	packets, err = rtcp.Unmarshal(r.report(time.Now(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	if d := packets[0].(*rtcp.SenderReport).RTPTime - 180_000; d > 90_000 {
		t.Errorf("timestamp runs %d ahead", d)
	}
}

func TestFeedback(t *testing.T) {
	r := newSenderReports(7)
	now := time.Now()
	r.sent(0, now, 1000, 1000*988)
	sr := r.report(now, "x")
	lsr := uint32(binary.BigEndian.Uint64(sr[8:]) >> 16)
	rr := rtcp.ReceptionReport{SSRC: 7, FractionLost: 64, TotalLost: 100, LastSequenceNumber: 1000, LastSenderReport: lsr, Delay: 65536 / 10, Jitter: 900}
	f, ok := r.feedback(1, rr, now.Add(150*time.Millisecond))
	if !ok || f.Loss != 0.25 || f.Jitter != 10*time.Millisecond || f.RTT < 49*time.Millisecond || f.RTT > 51*time.Millisecond || f.ReceiveRate != 0 {
		t.Errorf("first: %+v %v", f, ok)
	}
	rr.LastSequenceNumber, rr.TotalLost = 2000, 200
	f, _ = r.feedback(1, rr, now.Add(1150*time.Millisecond))
	if f.ReceiveRate < 7.19e6 || f.ReceiveRate > 7.21e6 { // 900 packets of 1000 bytes
		t.Errorf("receive rate %v", f.ReceiveRate)
	}
	rr.SSRC = 8
	if _, ok := r.feedback(1, rr, now); ok {
		t.Error("a report about somebody else counts")
	}
}

// TestNewReceiversAreKnown floods the memory of receivers, as anybody can.
func TestNewReceiversAreKnown(t *testing.T) {
	r := newSenderReports(7)
	now := time.Now()
	r.sent(0, now, 1000, 1000*988)
	rr := rtcp.ReceptionReport{SSRC: 7}
	for n := range uint32(2 * maxReceivers) {
		r.feedback(n, rr, now.Add(time.Duration(n)*time.Millisecond))
	}
	last := uint32(2*maxReceivers - 1)
	rr.LastSequenceNumber = 1000
	if f, _ := r.feedback(last, rr, now.Add(time.Second)); f.ReceiveRate == 0 || len(r.received) > maxReceivers {
		t.Errorf("receive rate %v of the newest of %d receivers", f.ReceiveRate, len(r.received))
	}
}

// TestRTCPOverTheWire has a receiver report loss and ask for a keyframe.
func TestRTCPOverTheWire(t *testing.T) {
	port := freePort(t)
	control, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port + 1})
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	media, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	defer media.Close()
	c := newCamera(clip.Synthetic(60, 30, 30, 1000, 1000))
	p := newPusher(t, fmt.Sprintf("rtp://127.0.0.1:%d", port), c)
	start(t, p)

	buf := make([]byte, 1500)
	_ = control.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, from, err := control.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatal(err)
	}
	packets, err := rtcp.Unmarshal(buf[:n])
	if err != nil {
		t.Fatal(err)
	}
	sr := packets[0].(*rtcp.SenderReport)
	b, err := rtcp.Marshal([]rtcp.Packet{
		&rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{{SSRC: sr.SSRC, FractionLost: 128, LastSenderReport: uint32(sr.NTPTime >> 16)}}},
		&rtcp.PictureLossIndication{SenderSSRC: 9, MediaSSRC: sr.SSRC},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := control.WriteToUDPAddrPort(b, from); err != nil {
		t.Fatal(err)
	}
	var f packet.Feedback
	until(t, "feedback comes", func() bool {
		f = p.Stats().Feedback
		return !f.At.IsZero()
	})
	if f.Loss != 0.5 || f.RTT <= 0 || f.RTT > time.Second {
		t.Errorf("%+v", f)
	}
	until(t, "the keyframe is asked for", func() bool { return c.wishes.Load() == 1 })
}

// TestMissingPacketsAreSentAgain has a receiver ask for packets, at the port
// that RTP comes from.
func TestMissingPacketsAreSentAgain(t *testing.T) {
	port := freePort(t)
	media, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	defer media.Close()
	start(t, newPusher(t, fmt.Sprintf("rtp://127.0.0.1:%d", port), newCamera(clip.Synthetic(60, 30, 30, 5000, 5000))))

	_ = media.SetReadDeadline(time.Now().Add(10 * time.Second))
	seen := make(map[uint16][]byte)
	var lost []uint16 // that are asked for, after a while
	var missing []byte
	for len(seen) < 100 || len(lost) > 0 {
		buf := make([]byte, 1500)
		n, from, err := media.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatalf("%v, still missing %v", err, lost)
		}
		number := sequence(buf)
		first, again := seen[number]
		if again {
			if !bytes.Equal(first, buf[:n]) {
				t.Errorf("packet %d comes again as another one", number)
			}
			lost = slices.DeleteFunc(lost, func(l uint16) bool { return l == number })
			continue
		}
		if seen[number] = buf[:n]; len(seen) != 50 {
			continue
		}
		lost = []uint16{number, number - 1, number - 7, number - 30}
		ssrc := binary.BigEndian.Uint32(buf[8:])
		if missing, err = rtcp.Marshal([]rtcp.Packet{
			&rtcp.ReceiverReport{SSRC: 9},
			&rtcp.TransportLayerNack{SenderSSRC: 9, MediaSSRC: ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(lost)},
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := media.WriteToUDPAddrPort(missing, from); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHistory asks for a packet that is known, and for what is not.
func TestHistory(t *testing.T) {
	var h history
	header := make([]byte, rtpHeader)
	for i := range 3 * historySize {
		binary.BigEndian.PutUint16(header[2:], uint16(i))
		h.add(header, []byte{byte(i)})
	}
	const last = 3*historySize - 1
	if b := h.appendPacket(nil, last); len(b) != rtpHeader+1 || b[rtpHeader] != last&0xff {
		t.Errorf("the last packet is % x", b)
	}
	for what, number := range map[string]uint16{"one that is too old": last - historySize, "one to come": last + 1} {
		if b := h.appendPacket(nil, number); len(b) > 0 {
			t.Errorf("%s: % x", what, b)
		}
	}
}

func FuzzReceiveRTCP(f *testing.F) {
	p := newPusher(f, "rtp://192.0.2.1:5000", newCamera(clip.Synthetic(2, 30, 30, 10, 10)))
	p.rtp.reports.sent(0, time.Now(), 1, 1)
	seed, err := rtcp.Marshal([]rtcp.Packet{
		&rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{{SSRC: p.rtp.reports.ssrc, FractionLost: 128}}},
		&rtcp.PictureLossIndication{},
		&rtcp.TransportLayerNack{MediaSSRC: p.rtp.reports.ssrc, Nacks: []rtcp.NackPair{{PacketID: 65530, LostPackets: 0xffff}}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{0x80, 200, 0, 0})
	reader := newScriptedReader((*h264.AccessUnit)(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		asked := 0
		p.rtp.repair = packet.NewRepair(func(numbers []uint16) { asked += len(numbers) })
		p.rtp.repair.Sent(1000, 1_000_000, time.Now())
		p.receiveRTCP(b, newFollower(&flow{}, reader))
		p.rtp.repair.Close()
		if asked > 17*len(b)/4 { // of RFC 4585: a number and 16 bits in 4 bytes
			t.Errorf("%d packets are asked for in %d bytes", asked, len(b))
		}
		if n := len(p.rtp.reports.received); n > maxReceivers {
			t.Errorf("%d receivers are remembered", n)
		}
	})
}
