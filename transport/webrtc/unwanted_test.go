package webrtc_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// unwanted is a track that nobody negotiated.
type unwanted struct{ writer chan webrtc.TrackLocalWriter }

func (u unwanted) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	u.writer <- c.WriteStream()
	return c.CodecParameters()[0], nil
}
func (u unwanted) Unbind(webrtc.TrackLocalContext) error { return nil }
func (u unwanted) ID() string                            { return "unwanted" }
func (u unwanted) RID() string                           { return "" }
func (u unwanted) StreamID() string                      { return "unwanted" }
func (u unwanted) Kind() webrtc.RTPCodecType             { return webrtc.RTPCodecTypeVideo }

// sendsMedia starts a viewer that has pictures, and sends media to the server
// with what is returned.
func sendsMedia(t *testing.T, web *httptest.Server) (*viewer, webrtc.TrackLocalWriter) {
	t.Helper()
	v := watch(t, web, viewerOptions{})
	waitFor(t, "10 pictures", func() bool { n, _ := v.pictures(); return n >= 10 })
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	track := unwanted{make(chan webrtc.TrackLocalWriter, 1)}
	sender, err := webrtc.NewAPI(webrtc.WithMediaEngine(m)).NewRTPSender(track, v.pc.GetReceivers()[0].Transport())
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.Send(sender.GetParameters()); err != nil {
		t.Fatal(err)
	}
	return v, <-track.writer
}

func sendMedia(t *testing.T, writer webrtc.TrackLocalWriter, ssrc uint32, number uint16) {
	t.Helper()
	header := &rtp.Header{Version: 2, PayloadType: 108, SSRC: ssrc, SequenceNumber: number}
	if _, err := writer.WriteRTP(header, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
}

// A viewer that sends media has its picture as before, and what it sends takes
// no memory.
func TestUnwantedMediaIsDropped(t *testing.T) {
	cam := newCamera()
	s, web := startServer(t, cam, nil)
	runCamera(t, cam, 2000, 20000, 30)
	v, writer := sendsMedia(t, web)
	before := held(t)
	const packets = 60_000
	for i := range packets {
		sendMedia(t, writer, 4711, uint16(i))
		if i%100 == 0 {
			time.Sleep(time.Millisecond) // all of it is to arrive
		}
	}
	n, _ := v.pictures()
	waitFor(t, "pictures go on", func() bool { more, missing := v.pictures(); return more > n+30 && missing == 0 })
	after := held(t)
	t.Logf("before 60 MB of media %+v, after %+v", before, after)
	if after.heap > before.heap+8<<20 || after.goroutines > before.goroutines+10 {
		t.Errorf("%d packets are kept: %+v, before %+v", packets, after, before)
	}
	if n := len(s.Sessions()); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// Who sends streams without end has to leave; nobody else sees anything of it.
func TestViewerWithManyStreamsLeaves(t *testing.T) {
	cam := newCamera()
	s, web := startServer(t, cam, nil)
	runCamera(t, cam, 5000, 60000, 30)
	other := watch(t, web, viewerOptions{})
	v, writer := sendsMedia(t, web)
	ssrc := uint32(0)
	waitFor(t, "the viewer to have left", func() bool {
		if ssrc++; v.pc.ConnectionState() == webrtc.PeerConnectionStateConnected {
			sendMedia(t, writer, ssrc, 1)
		}
		return len(s.Sessions()) == 1
	})
	n, _ := other.pictures()
	waitFor(t, "pictures go on", func() bool { more, _ := other.pictures(); return more > n+30 })
	if _, missing := other.pictures(); missing != 0 {
		t.Errorf("%d packets are missing", missing)
	}
}
