package udp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	srt "github.com/datarhei/gosrt"
	"github.com/datarhei/gosrt/circular"
	srtpacket "github.com/datarhei/gosrt/packet"

	"github.com/lenscast/lenscast/transport/congestion"
)

// nak returns what gosrt logs about a loss report, as rows of first and last.
func nak(rows ...uint32) func() string {
	var report srtpacket.CIFNAK
	for _, n := range rows {
		report.LostPacketSequenceNumber = append(report.LostPacketSequenceNumber, circular.New(n, srtpacket.MAX_SEQUENCENUMBER))
	}
	return report.String
}

// A packet that is asked for again and again was lost once.
func TestLossLogCountsEachPacketOnce(t *testing.T) {
	l := newLossLog()
	l.watch(7)
	l.Print(lossTopic, 8, 0, nak(1, 9)) // nobody watches it
	if l.lost(7) != 0 || l.lost(8) != 0 {
		t.Fatalf("lost %d and %d before anything was", l.lost(7), l.lost(8))
	}
	const last = srtpacket.MAX_SEQUENCENUMBER
	for _, step := range []struct {
		rows []uint32
		lost uint64
	}{
		{[]uint32{5, 5}, 1},
		{[]uint32{5, 5, 7, 9}, 4},
		{[]uint32{7, 9}, 4},
		{[]uint32{8, 10, 12, 12}, 6},
		{[]uint32{last - 1, 1}, 10}, // numbers begin anew after 31 bits
		{[]uint32{last, 0}, 10},
	} {
		l.Print(lossTopic, 7, 0, nak(step.rows...))
		if got := l.lost(7); got != step.lost {
			t.Errorf("after %v %d are lost, want %d", step.rows, got, step.lost)
		}
	}
	l.forget(7)
	l.Print(lossTopic, 7, 0, nak(20, 29))
	if got := l.lost(7); got != 0 {
		t.Errorf("%d are lost of a connection that is forgotten", got)
	}
}

// A receiver that says that everything is lost, again and again, keeps nobody
// busy.
func TestLossLogBoundsReports(t *testing.T) {
	l := newLossLog()
	l.watch(1)
	l.Print(lossTopic, 1, 0, nak(0, srtpacket.MAX_SEQUENCENUMBER, 0, srtpacket.MAX_SEQUENCENUMBER))
	if got := l.lost(1); got != lossMemory {
		t.Errorf("one report counts for %d packets", got)
	}
	l.Print(lossTopic, 1, 0, func() string { return "single: \nrow: 1 to\n to : single: x\nrow: 0x1 to 0x1ffffffff" })
	if got := l.lost(1); got != lossMemory {
		t.Errorf("nonsense counts for %d packets", got-lossMemory)
	}
}

// Of what is acknowledged a part was given up: only what was not lost has
// arrived.
func TestSRTLookTellsWhatArrived(t *testing.T) {
	var look srtLook
	var lost uint64
	var got float64
	for range 20 {
		lost += 75
		s := srt.Statistics{Interval: srt.StatisticsInterval{
			MsInterval: 100, PktSent: 300, PktRetrans: 200, PktSentUnique: 100, ByteSentUnique: 100_000,
		}}
		f := look.feedback(&s, lost, time.Now())
		if f.Loss != 0.75 {
			t.Fatalf("the loss is %v", f.Loss)
		}
		got = f.ReceiveRate
	}
	if got < 1.99e6 || got > 2.01e6 {
		t.Errorf("of 8 Mbit/s %.2f arrive, want 2", got/1e6)
	}
}

// The round trip that SRT begins with is a guess: that it turns out to be longer
// is no queue.
func TestSRTLookKnowsNoRoundTripAtFirst(t *testing.T) {
	for _, way := range []float64{20, 100, 200, 600} {
		receiver, sender := 100.0, 100.0 // ms, as both ends have it
		var look srtLook
		var s srt.Statistics
		estimate := congestion.NewReports()
		begun, sent, learned := time.Now(), uint64(0), time.Duration(0)
		for n := range 100 {
			for range 10 {
				receiver += (way - receiver) / 8
				sender += (receiver - sender) / 8
			}
			sent += 62_500
			s.Instantaneous.MsRTT = sender
			s.Accumulated.PktRecvACK = uint64(10 * n)
			s.Interval = srt.StatisticsInterval{MsInterval: 100, PktSent: 48, PktSentUnique: 48, ByteSentUnique: 62_500}
			f := look.feedback(&s, 0, begun.Add(time.Duration(n)*srtStatsInterval))
			if estimate.Feedback(f, sent); estimate.Target() < congestion.Unlimited {
				t.Fatalf("a round trip of %v ms limits to %d bit/s at look %d", way, estimate.Target(), n)
			}
			learned = f.RTT
		}
		if got := learned.Seconds() * 1000; got < way-1 || got > way+1 {
			t.Errorf("a round trip of %v ms is taken for %v ms", way, got)
		}
	}
}

// lossyRelay passes datagrams to a port and back. Of SRT data it loses every
// tenth packet, and of those sent again every second one (draft-sharabayko-srt
// section 3.1). It tells its own port, and how many packets it lost at first.
func lossyRelay(t *testing.T, port int) (int, *atomic.Int64) {
	t.Helper()
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		front.Close()
		back.Close()
	})
	var sender atomic.Pointer[netip.AddrPort]
	lost := &atomic.Int64{}
	again := 0
	passes := func(b []byte) bool {
		switch {
		case len(b) < 16 || b[0]&0x80 != 0: // control
			return true
		case b[4]&0x04 != 0:
			again++
			return again%2 == 0
		case binary.BigEndian.Uint32(b)%10 == 0:
			lost.Add(1)
			return false
		}
		return true
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := front.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			sender.Store(&from)
			if passes(buf[:n]) {
				_, _ = back.Write(buf[:n]) // is gone at the end
			}
		}
	}()
	go func() {
		buf := make([]byte, 1500)
		for {
			n, err := back.Read(buf)
			if err != nil {
				return
			}
			_, _ = front.WriteToUDPAddrPort(buf[:n], *sender.Load())
		}
	}()
	return front.LocalAddr().(*net.UDPAddr).Port, lost
}

// What gosrt logs is what the network lost: less than what it counts.
func TestLossLogTellsWhatTheNetworkLost(t *testing.T) {
	port := freePort(t)
	srtReceiver(t, port, make(chan int, 100_000))
	relay, lost := lossyRelay(t, port)
	d, err := ParseDestination(fmt.Sprintf("srt://127.0.0.1:%d", relay))
	if err != nil {
		t.Fatal(err)
	}
	losses := newLossLog()
	conn, err := srtDial(d, netip.AddrPortFrom(netip.MustParseAddr(d.Host), d.Port), time.Millisecond, losses)
	if err != nil {
		t.Fatal(err)
	}
	defer watchSRT(conn, func(error) {})()
	losses.watch(conn.SocketId())
	payload := make([]byte, d.PacketSize)
	until(t, "50 packets are lost, and no more than are counted", func() bool {
		if lost.Load() < 50 {
			_, err = conn.Write(payload)
		}
		return err != nil || lost.Load() >= 50 && losses.lost(conn.SocketId()) >= 49 // the last may not be missed yet
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := losses.lost(conn.SocketId()); got > uint64(lost.Load()) {
		t.Errorf("%d packets count as lost, of %d that were", got, lost.Load())
	}
	var s srt.Statistics
	if conn.Stats(&s); s.Accumulated.PktRetrans < 70 {
		t.Errorf("packets were asked for %d times: nothing is shown by that", s.Accumulated.PktRetrans)
	}
}
