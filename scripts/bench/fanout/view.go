package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"
)

// seen is what the viewers tell.
type seen struct {
	Packets, Missing, Pictures, Damaged, Keyframes, DamagedKeyframes uint64
}

// view runs n viewers of url, one process for all, until standard input is
// closed.
func view(ctx context.Context, url string, n int, in io.Reader, out io.Writer) error {
	v := &viewers{url: url}
	defer v.close()
	for range n {
		if err := v.add(ctx); err != nil {
			return err
		}
	}
	for int(v.started.Load()) < n {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	fmt.Fprintln(out, "ready")
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if err := json.NewEncoder(out).Encode(v.seen()); err != nil {
			return err
		}
	}
	return lines.Err()
}

type viewers struct {
	url                    string
	started                atomic.Uint64
	packets, missing       atomic.Uint64
	pictures, damaged      atomic.Uint64
	keyframes, damagedKeys atomic.Uint64

	mu  sync.Mutex
	pcs []*webrtc.PeerConnection
}

func (v *viewers) seen() seen {
	return seen{
		v.packets.Load(), v.missing.Load(), v.pictures.Load(), v.damaged.Load(), v.keyframes.Load(), v.damagedKeys.Load(),
	}
}

func (v *viewers) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, pc := range v.pcs {
		_ = pc.Close()
	}
}

// add connects one more viewer.
func (v *viewers) add(ctx context.Context) error {
	m := &webrtc.MediaEngine{}
	if err := m.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeH264, ClockRate: 90000,
			SDPFmtpLine:  "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}},
		}, PayloadType: 102,
	}, webrtc.RTPCodecTypeVideo); err != nil {
		return err
	}
	e := webrtc.SettingEngine{}
	e.SetIncludeLoopbackCandidate(true)
	if strings.HasPrefix(v.url, "http://127.") {
		e.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(e)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	v.mu.Lock()
	v.pcs = append(v.pcs, pc)
	v.mu.Unlock()
	pc.OnTrack(v.read)
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo,
		webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		return err
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		return err
	}
	<-gathered
	answer, err := post(ctx, v.url, pc.LocalDescription().SDP)
	if err != nil {
		return err
	}
	return pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer})
}

// read counts packets, and pictures with a packet missing. What is resent
// later does not repair the count.
func (v *viewers) read(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
	v.started.Add(1)
	buf := make([]byte, 1500)
	var last uint16
	var damaged, key bool
	for first := true; ; first = false {
		n, _, err := track.Read(buf)
		if err != nil || n < 14 {
			return
		}
		seq := uint16(buf[2])<<8 | uint16(buf[3])
		if gap := seq - last - 1; !first && gap < 1<<15 {
			v.missing.Add(uint64(gap))
			damaged = damaged || gap > 0
		} else if !first {
			continue // a resent one
		}
		last = seq
		v.packets.Add(1)
		const stapA, fuA, idr = 24, 28, 5
		offset := 12
		if buf[0]&0x10 != 0 { // header extensions
			offset += 4 + 4*(int(buf[14])<<8|int(buf[15]))
		}
		switch payload := buf[offset:]; payload[0] & 0x1f {
		case stapA:
			key = true
		case fuA:
			key = key || payload[1]&0x1f == idr
		}
		if marker := buf[1]&0x80 != 0; marker {
			v.finished(key, damaged)
			damaged, key = false, false
		}
	}
}

func (v *viewers) finished(key, damaged bool) {
	v.pictures.Add(1)
	if key {
		v.keyframes.Add(1)
	}
	if damaged {
		v.damaged.Add(1)
		if key {
			v.damagedKeys.Add(1)
		}
	}
}

func post(ctx context.Context, url, offer string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(offer))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/sdp")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("POST %s: %s: %s", url, resp.Status, body)
	}
	return string(body), nil
}
