package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	srt "github.com/datarhei/gosrt"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// receiveKind receives until ctx ends and writes a line for each tenth of a
// second.
func receiveKind(ctx context.Context, kind string, out io.Writer) error {
	m := &meter{}
	var err error
	switch kind {
	case "whep":
		err = m.whep(ctx)
	case "whip":
		err = m.whip(ctx)
	case "srt":
		err = m.srt(ctx)
	default:
		err = m.rtp(ctx)
	}
	if err != nil {
		return err
	}
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if err := json.NewEncoder(out).Encode(m.take(now)); err != nil {
				return err
			}
		}
	}
}

// meter measures what arrives.
type meter struct {
	mu  sync.Mutex
	now got

	haveNumber, hole bool
	number           uint16 // of the newest packet
	mapped           bool   // a sender report came
	reported         time.Time
	reportedRTP      uint32

	least    time.Duration // of the lag of a transport stream
	received int           // packets, of the stream
	first    uint16
	cycles   int
}

func (m *meter) take(now time.Time) got {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.now
	g.At = now
	m.now = got{}
	return g
}

// packet takes an RTP packet. What is resent, and so comes out of order, counts
// as a hole: no picture that has one is whole.
func (m *meter) packet(p *rtp.Packet) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Bytes += len(p.Payload)
	m.received++
	if !m.haveNumber {
		m.first = p.SequenceNumber
	} else if p.SequenceNumber != m.number+1 {
		m.hole = true
	}
	if m.haveNumber && p.SequenceNumber < m.number && m.number-p.SequenceNumber > 1<<15 {
		m.cycles++
	}
	m.haveNumber, m.number = true, p.SequenceNumber
	if !p.Marker {
		return
	}
	whole := !m.hole
	m.hole = false
	if !whole {
		m.now.Broken++
		return
	}
	m.now.Pictures++
	if m.mapped {
		age := time.Duration(int32(p.Timestamp-m.reportedRTP)) * time.Second / 90000
		m.now.Latency = max(m.now.Latency, time.Since(m.reported.Add(age)))
	}
}

// report takes a sender report: which RTP time is which wall-clock time. Both
// ends have the same clock here.
func (m *meter) report(r *rtcp.SenderReport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seconds, fraction := r.NTPTime>>32, r.NTPTime&math.MaxUint32
	m.reported = time.Unix(int64(seconds)-2208988800, int64(fraction*1e9>>32))
	m.reportedRTP, m.mapped = r.RTPTime, true
}

// peer makes a peer connection that receives as a browser does: with
// transport-wide feedback, NACK and RTX, and a wish for a keyframe when a
// picture has a hole.
func (m *meter) peer(ctx context.Context) (*webrtc.PeerConnection, error) {
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = pc.Close() })
	pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		go func() {
			for {
				packets, _, err := receiver.ReadRTCP()
				if err != nil {
					return
				}
				for _, p := range packets {
					if sr, ok := p.(*rtcp.SenderReport); ok {
						m.report(sr)
					}
				}
			}
		}()
		for {
			p, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			before := m.broken()
			m.packet(p)
			if m.broken() > before {
				_ = pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}})
			}
		}
	})
	return pc, nil
}

// local applies a description of this end and returns it with all candidates.
func local(pc *webrtc.PeerConnection, d webrtc.SessionDescription) (string, error) {
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(d); err != nil {
		return "", err
	}
	<-gathered
	return pc.LocalDescription().SDP, nil
}

// whep watches the agent.
func (m *meter) whep(ctx context.Context) error {
	pc, err := m.peer(ctx)
	if err != nil {
		return err
	}
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		return err
	}
	d, err := pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	offer, err := local(pc, d)
	if err != nil {
		return err
	}
	answer, err := post(ctx, "http://10.99.1.1:8080/whep/cam", offer)
	if err != nil {
		return err
	}
	return pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer})
}

// whip is a WHIP server: it takes what the agent pushes.
func (m *meter) whip(ctx context.Context) error {
	answer := func(offer string) (string, error) {
		pc, err := m.peer(ctx)
		if err != nil {
			return "", err
		}
		if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
			return "", err
		}
		d, err := pc.CreateAnswer(nil)
		if err != nil {
			return "", err
		}
		return local(pc, d)
	}
	server := &http.Server{Addr: ":8889", ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		offer, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
		if r.Method != http.MethodPost || err != nil {
			w.WriteHeader(http.StatusOK)
			return
		}
		text, err := answer(string(offer))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/sdp")
		w.Header().Set("Location", "/whip/1")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, text)
	})}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.ListenAndServe() }()
	return nil
}

func (m *meter) broken() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now.Broken
}

// post sends an offer until it is answered: the agent may just be starting.
func post(ctx context.Context, url, offer string) (string, error) {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(offer))
		if err != nil {
			return "", err
		}
		req.Header.Set("Content-Type", "application/sdp")
		req.Header.Set("Authorization", "Bearer adapt")
		if resp, err := http.DefaultClient.Do(req); err == nil {
			answer, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusCreated {
				return string(answer), err
			}
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// rtp receives plain RTP, and reports five times a second.
func (m *meter) rtp(ctx context.Context) error {
	media, err := net.ListenPacket("udp4", ":5004")
	if err != nil {
		return err
	}
	control, err := net.ListenPacket("udp4", ":5005")
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() {
		_ = media.Close()
		_ = control.Close()
	})
	var ssrc uint32
	go func() {
		buf := make([]byte, 1500)
		for {
			n, _, err := media.ReadFrom(buf)
			if err != nil {
				return
			}
			var p rtp.Packet
			if p.Unmarshal(buf[:n]) == nil {
				m.packet(&p)
			}
		}
	}()
	var mu sync.Mutex
	var sender net.Addr
	var lastReport uint32
	var lastAt time.Time
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := control.ReadFrom(buf)
			if err != nil {
				return
			}
			packets, err := rtcp.Unmarshal(buf[:n])
			if err != nil {
				continue
			}
			for _, p := range packets {
				if sr, ok := p.(*rtcp.SenderReport); ok {
					m.report(sr)
					mu.Lock()
					sender, ssrc, lastReport, lastAt = from, sr.SSRC, uint32(sr.NTPTime>>16), time.Now()
					mu.Unlock()
				}
			}
		}
	}()
	go func() {
		var before, expectedBefore int
		for range time.Tick(200 * time.Millisecond) {
			m.mu.Lock()
			highest := m.cycles<<16 | int(m.number)
			received, expected := m.received, highest-int(m.first)+1
			m.mu.Unlock()
			mu.Lock()
			to := sender
			r := rtcp.ReceptionReport{
				SSRC: ssrc, LastSequenceNumber: uint32(highest), TotalLost: uint32(max(expected-received, 0)),
				LastSenderReport: lastReport, Delay: uint32(time.Since(lastAt) * 65536 / time.Second),
			}
			mu.Unlock()
			if span := expected - expectedBefore; span > 0 {
				r.FractionLost = uint8(min(max(256*(span-(received-before))/span, 0), 255))
			}
			before, expectedBefore = received, expected
			b, err := (&rtcp.ReceiverReport{SSRC: 7, Reports: []rtcp.ReceptionReport{r}}).Marshal()
			if to == nil || err != nil {
				continue
			}
			if _, err := control.WriteTo(b, to); err != nil && ctx.Err() != nil {
				return
			}
		}
	}()
	return nil
}

// srt receives a transport stream over SRT.
func (m *meter) srt(ctx context.Context) error {
	listener, err := srt.Listen("srt", ":5004", srt.DefaultConfig())
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, listener.Close)
	m.least = math.MaxInt64
	go func() {
		for {
			request, err := listener.Accept2()
			if err != nil {
				return
			}
			conn, err := request.Accept()
			if err != nil {
				continue
			}
			if err := m.stream(conn); ctx.Err() == nil && !errors.Is(err, io.EOF) {
				fmt.Fprintln(io.Discard, err)
			}
		}
	}()
	return nil
}

// stream reads a transport stream: pictures begin with a PES header with their
// time (ISO/IEC 13818-1 section 2.4.3.6).
func (m *meter) stream(r io.Reader) error {
	buf := make([]byte, 1500)
	for {
		n, err := r.Read(buf)
		if err != nil {
			return err
		}
		m.mu.Lock()
		m.now.Bytes += n
		for p := buf[:n]; len(p) >= 188; p = p[188:] {
			m.transportPacket(p[:188])
		}
		m.mu.Unlock()
	}
}

func (m *meter) transportPacket(p []byte) {
	if p[1]&0x40 == 0 || p[3]&0x10 == 0 {
		return
	}
	payload := p[4:]
	if p[3]&0x20 != 0 {
		if int(p[4])+5 > len(p) {
			return
		}
		payload = p[5+p[4]:]
	}
	if len(payload) < 14 || binary.BigEndian.Uint32(payload)>>8 != 1 || payload[7]&0x80 == 0 {
		return
	}
	t := payload[9:]
	pts := int64(t[0]&0x0e)<<29 | int64(t[1])<<22 | int64(t[2]&0xfe)<<14 | int64(t[3])<<7 | int64(t[4])>>1
	lag := time.Duration(time.Now().UnixNano()) - time.Duration(pts)*time.Second/90000
	m.least = min(m.least, lag)
	m.now.Pictures++
	m.now.Latency = max(m.now.Latency, lag-m.least)
}
