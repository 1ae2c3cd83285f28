package webrtc_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

const transportCC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"

// extension returns the number by which a viewer knows a header extension.
func (v *viewer) extension(uri string) uint8 {
	for _, e := range v.pc.GetReceivers()[0].GetParameters().HeaderExtensions {
		if e.URI == uri {
			return uint8(e.ID)
		}
	}
	return 0
}

// Every packet has a transport-wide number of its own, one after the other,
// those that are sent again too, but where they are sent on the same SSRC: there
// the packet must be the same.
func TestTransportWideNumbers(t *testing.T) {
	for name, rtx := range map[string]bool{"RTX": true, "same SSRC": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cam := newCamera()
			_, web := startServer(t, cam, nil)
			runCamera(t, cam, 5000, 60000, 60)
			// Another extension first, so that the number is not the usual one.
			v := watch(t, web, viewerOptions{rtx: rtx, extensions: []string{"urn:example:other", transportCC}})
			waitFor(t, "20 pictures", func() bool { n, _ := v.pictures(); return n >= 20 })
			id := v.extension(transportCC)
			if id == 0 {
				t.Fatal("transport-wide numbers are not negotiated")
			}
			number := func(p *rtp.Packet) uint16 {
				b := p.GetExtension(id)
				if len(b) != 2 {
					t.Fatalf("packet %d has the number % x", p.SequenceNumber, b)
				}
				return binary.BigEndian.Uint16(b)
			}
			packets := v.received()
			offset := number(packets[0]) - packets[0].SequenceNumber
			for _, p := range packets {
				if got := number(p) - p.SequenceNumber; got != offset {
					t.Fatalf("packet %d has the number %d", p.SequenceNumber, number(p))
				}
			}
			lost := packets[len(packets)-1] // old ones are not kept
			if err := v.pc.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{
				MediaSSRC: uint32(v.ssrc), Nacks: rtcp.NackPairsFromSequenceNumbers([]uint16{lost.SequenceNumber}),
			}}); err != nil {
				t.Fatal(err)
			}
			var again []*rtp.Packet
			waitFor(t, "the packet to come again", func() bool {
				again = nil
				for _, p := range v.received() {
					if p.SequenceNumber == lost.SequenceNumber {
						again = append(again, p)
					}
				}
				return len(again) == 2
			})
			if same := number(again[0]) == number(again[1]); same == rtx {
				t.Errorf("sent again with the number %d, after %d", number(again[1]), number(again[0]))
			}
		})
	}
}

// What transport-wide feedback calls lost is sent again though nobody asks for it,
// and so is what was sent again. Feedback names the stream of the packet that came
// last, which may be that of RTX.
func TestLostPacketsAreFoundByFeedback(t *testing.T) {
	t.Run("media", func(t *testing.T) { findLostPackets(t, func(v *viewer) uint32 { return uint32(v.ssrc) }) })
	t.Run("RTX", func(t *testing.T) { findLostPackets(t, (*viewer).repairSSRC) })
}

// repairSSRC returns the SSRC of RTX, as the answer has it (RFC 5576 section 4.2).
func (v *viewer) repairSSRC() uint32 {
	var first, second uint32
	if i := strings.Index(v.answer, "a=ssrc-group:FID "); i >= 0 {
		_, _ = fmt.Sscanf(v.answer[i:], "a=ssrc-group:FID %d %d", &first, &second)
	}
	return second
}

// findLostPackets is TestLostPacketsAreFoundByFeedback, with feedback that names
// the SSRC that named returns.
func findLostPackets(t *testing.T, named func(*viewer) uint32) {
	t.Helper()
	cam := newCamera()
	s, web := startServer(t, cam, nil)
	runCamera(t, cam, 5000, 20000, 60)
	v := watch(t, web, viewerOptions{rtx: true, mute: true, extensions: []string{transportCC}})
	waitFor(t, "20 pictures", func() bool { n, _ := v.pictures(); return n >= 20 })
	id, recorder, done, at := v.extension(transportCC), twcc.NewRecorder(1), 0, int64(0)
	media := named(v)
	if media == 0 {
		t.Fatalf("no SSRC in %s", v.answer)
	}
	number := func(p *rtp.Packet) uint16 { return binary.BigEndian.Uint16(p.GetExtension(id)) }
	// report tells of all packets that came since the last report but one.
	report := func(lost uint16) {
		t.Helper()
		packets := v.received()
		for ; done < len(packets); done++ {
			at = max(at, int64(packets[done].Timestamp-packets[0].Timestamp)*1000/90) // nothing waits on this way
			if n := number(packets[done]); n != lost {
				recorder.Record(media, n, at)
			}
		}
		if err := v.pc.WriteRTCP(recorder.BuildFeedbackPacket()); err != nil {
			t.Fatal(err)
		}
	}
	report(0) // of what is too old
	before := done
	waitFor(t, "more packets", func() bool { return len(v.received()) > before+20 })
	lost := v.received()[before+3]
	missing := number(lost)
	for times := 2; times <= 4; times++ {
		report(missing)
		var copies []*rtp.Packet
		waitFor(t, "the packet to come again", func() bool {
			copies = nil
			for _, p := range v.received() {
				if p.SequenceNumber == lost.SequenceNumber {
					copies = append(copies, p)
				}
			}
			return len(copies) >= times
		})
		missing = number(copies[len(copies)-1])
		before := len(v.received())
		waitFor(t, "more packets", func() bool { return len(v.received()) > before+20 })
	}
	if n := s.Sessions()[0].NACKs; n != 0 {
		t.Errorf("%d packets were asked for", n)
	}
}

// A viewer tells that a queue grows: its reader hears of it, what is sent again
// is limited, and so are keyframes.
func TestNarrowWayIsHeardOf(t *testing.T) {
	cam := newCamera()
	cam.onKey = func() {}
	s, web := startServer(t, cam, nil)
	runCamera(t, cam, 5000, 20000, 100_000)
	v := watch(t, web, viewerOptions{rtx: true, extensions: []string{transportCC}})
	waitFor(t, "20 pictures", func() bool { n, _ := v.pictures(); return n >= 20 })

	// By this feedback each packet waits longer than the one before.
	const gap = 8 * time.Millisecond
	recorder := twcc.NewRecorder(1)
	id, done, bytes := v.extension(transportCC), 0, 0
	affordable := func() int { return s.Sessions()[0].Affordable }
	waitFor(t, "the way to be seen as full", func() bool {
		packets := v.received()
		for _, p := range packets[done:] {
			b := p.GetExtension(id)
			if len(b) != 2 {
				continue
			}
			done++
			bytes += len(p.Payload)
			at := time.Duration(done) * gap
			recorder.Record(uint32(v.ssrc), binary.BigEndian.Uint16(b), at.Microseconds())
		}
		if feedback := recorder.BuildFeedbackPacket(); len(feedback) > 0 {
			if err := v.pc.WriteRTCP(feedback); err != nil {
				t.Fatal(err)
			}
		}
		return affordable() > 0
	})
	carries := bytes * 8 * int(time.Second/gap) / done
	if got := affordable(); got > carries {
		t.Errorf("a way that carries %d bit/s is seen to carry %d", carries, got)
	}
	cam.mu.Lock()
	told := false
	for r := range cam.readers {
		told = told || r.afford.Load() > 0
	}
	cam.mu.Unlock()
	if !told {
		t.Error("the reader was not told")
	}

	var all []uint16
	for _, p := range v.received() {
		all = append(all, p.SequenceNumber)
	}
	before := s.Sessions()[0].PacketsResent
	for range 5 {
		if err := v.pc.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{
			MediaSSRC: uint32(v.ssrc), Nacks: rtcp.NackPairsFromSequenceNumbers(all),
		}}); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the wishes to arrive", func() bool { return s.Sessions()[0].NACKs >= uint64(5*len(all)) })
	if n := s.Sessions()[0].PacketsResent - before; int(n) > len(all) {
		t.Errorf("%d packets were sent again on a full way", n)
	}

	wishes := cam.keyframeWishes()
	for range 20 {
		if err := v.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(v.ssrc)}}); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the wishes to arrive", func() bool { return s.Sessions()[0].PLIs >= 20 })
	if n := cam.keyframeWishes() - wishes; n > 5 {
		t.Errorf("%d keyframes were asked for", n)
	}

	// Of another way that is not known.
	restartICE(t, web, v)
	if got := affordable(); got != 0 {
		t.Errorf("another way is taken to carry %d bit/s", got)
	}
}
