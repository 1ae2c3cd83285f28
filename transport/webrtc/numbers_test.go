package webrtc

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"

	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/transport/congestion"
	"github.com/lenscast/lenscast/transport/packet"
)

// wire is the far end of an outgoing: what was written, in order.
type wire struct{ headers []rtp.Header }

func (w *wire) WriteRTP(h *rtp.Header, _ []byte) (int, error) {
	w.headers = append(w.headers, h.Clone())
	return 0, nil
}

func (w *wire) Write([]byte) (int, error) { return 0, nil }

// newWired returns an outgoing that writes to a wire, with RTX and transport-wide
// numbers.
func newWired(t *testing.T) (*outgoing, *wire) {
	t.Helper()
	const transportID = 4
	o, w := newOutgoing(&route{}, &packet.Clock{}), &wire{}
	o.writer, o.ssrc, o.rtxSSRC, o.rtxType, o.transportID = w, 1, 2, 97, transportID
	o.header = rtp.Header{Version: 2, PayloadType: 96, SSRC: o.ssrc}
	if err := o.header.SetExtension(transportID, o.number[:]); err != nil {
		t.Fatal(err)
	}
	o.estimator = congestion.NewEstimator()
	close(o.bound)
	t.Cleanup(o.close)
	return o, w
}

// While a large picture leaves in small groups, something is sent again: it is not
// ahead of its number, or feedback would call the rest of the picture lost. What
// has not left yet is not sent again, whoever asks for it.
func TestTransportWideNumbersAreInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, w := newWired(t)
		packetizer := packet.NewPacketizer(maxPayload)
		picture := func(size int) *packet.Picture {
			nalu := make([]byte, size)
			nalu[0] = byte(h264.NALUSlice)
			return packetizer.Picture(&h264.AccessUnit{NALUs: [][]byte{nalu}})
		}
		first := o.sequence
		if err := o.send(t.Context(), picture(20_000), 0, false); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- o.send(t.Context(), picture(200_000), 3000, false) }()
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		left := len(w.headers)
		o.repair.Asked([]uint16{first + 3, first + 5, first + uint16(left) + 3}, time.Now())
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		again := 0
		for i, h := range w.headers {
			if got := binary.BigEndian.Uint16(h.GetExtension(o.transportID)); got != uint16(i) {
				t.Fatalf("packet %d of %d has the number %d", i, len(w.headers), got)
			}
			if h.SSRC == o.rtxSSRC {
				again++
			}
		}
		if left >= len(w.headers)-again || again != 2 {
			t.Errorf("of %d packets %d had left, and %d were sent again", len(w.headers)-again, left, again)
		}
	})
}

// Of what is lost, only what was not sent again since is missing.
func TestMissingNumbers(t *testing.T) {
	n := &numbers{next: 65530}
	for sequence := range uint16(20) {
		n.take(65526 + sequence)
	}
	if got := n.missing([]uint16{65530, 3}); len(got) != 2 || got[0] != 65526 || got[1] != 65535 {
		t.Errorf("missing are %v", got)
	}
	again := n.take(65535)
	if got := n.missing([]uint16{3}); len(got) != 0 {
		t.Errorf("missing are %v that were sent again", got)
	}
	if got := n.missing([]uint16{again}); len(got) != 1 || got[0] != 65535 {
		t.Errorf("missing are %v of what was sent again", got)
	}
}

// A packet that is sent again as it was has the number it had, or it is not sent.
func TestSentAgainAsItWas(t *testing.T) {
	o, _ := newWired(t)
	o.rtxType = 0
	first := o.sequence
	for range 2 {
		picture := o.remember(sent{at: time.Now(), payloads: make([][]byte, numbersKept*3/4), first: o.sequence})
		for range picture.payloads {
			o.leaves(picture)
			o.sequence++
		}
	}
	for i := range o.sequence - first {
		h, _, ok := o.packet(first + i)
		if wanted := i >= (o.sequence-first)-numbersKept; ok != wanted {
			t.Fatalf("packet %d can be sent again: %t, want %t", i, ok, wanted)
		}
		if !ok {
			continue
		}
		if got := binary.BigEndian.Uint16(h.GetExtension(o.transportID)); got != i {
			t.Fatalf("packet %d has the number %d when it is sent again", i, got)
		}
	}
}
