package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/capture/h264"
	lenscast "github.com/lenscast/lenscast/transport/webrtc"
)

const (
	fps         = 60
	viewerQueue = 120 // pictures
)

// sender is the sending process.
type sender struct {
	engine, host, profile  string
	keyBytes, pictureBytes int
}

// usage is what the sender tells of itself.
type usage struct {
	Time time.Time
	CPU  time.Duration
	RSS  int64 // bytes
}

// run serves one engine until standard input is closed, answering questions.
func (s *sender) run(ctx context.Context, in io.Reader, out io.Writer) (failed error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var handler http.Handler
	var publish func(*h264.AccessUnit)
	switch s.engine {
	case "lenscast":
		pictures := stream.New()
		server, err := lenscast.NewServer(lenscast.ServerParams{
			Listen: net.JoinHostPort(s.host, "0"),
			Camera: func(string) (lenscast.Feed, error) {
				return lenscast.Feed{Open: func() lenscast.Reader { return pictures.Subscribe(stream.AtOnce, viewerQueue) }}, nil
			},
		})
		if err != nil {
			return err
		}
		ended := make(chan error, 1)
		go func() { ended <- server.Run(ctx) }()
		defer func() {
			cancel()
			failed = errors.Join(failed, <-ended)
		}()
		handler, publish = server, pictures.Publish
	case "pion":
		p, err := newPlainPion()
		if err != nil {
			return err
		}
		handler, publish = p, p.publish
	default:
		return fmt.Errorf("no sender is called %q", s.engine)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(s.host, "0"))
	if err != nil {
		return err
	}
	web := &http.Server{Handler: handler}
	go web.Serve(listener) //nolint:errcheck // ends with Close
	defer func() { _ = web.Close() }()
	go s.generate(ctx, publish)

	if s.profile != "" {
		f, err := os.Create(s.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		defer pprof.StopCPUProfile()
		return answer(in, out, "http://"+listener.Addr().String()+"/whep/cam", func() error { return pprof.StartCPUProfile(f) })
	}
	return answer(in, out, "http://"+listener.Addr().String()+"/whep/cam", func() error { return nil })
}

// answer prints url, then the usage for each line: "usage", "begin", or
// "sleep N", which waits first.
func answer(in io.Reader, out io.Writer, url string, begin func() error) error {
	fmt.Fprintln(out, url)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		command, argument, _ := strings.Cut(lines.Text(), " ")
		switch command {
		case "sleep":
			seconds, err := strconv.Atoi(argument)
			if err != nil {
				return err
			}
			time.Sleep(time.Duration(seconds) * time.Second)
		case "begin":
			if err := begin(); err != nil {
				return err
			}
		}
		u, err := measureSelf()
		if err != nil {
			return err
		}
		if err := json.NewEncoder(out).Encode(u); err != nil {
			return err
		}
	}
	return lines.Err()
}

func measureSelf() (usage, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return usage{}, err
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return usage{}, err
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(statm), &size, &resident); err != nil {
		return usage{}, err
	}
	return usage{
		Time: time.Now(),
		CPU:  time.Duration(r.Utime.Nano() + r.Stime.Nano()),
		RSS:  resident * int64(os.Getpagesize()),
	}, nil
}

// generate publishes pictures of the right sizes at 60 fps.
func (s *sender) generate(ctx context.Context, publish func(*h264.AccessUnit)) {
	sps := []byte{0x67, 0x42, 0xc0, 0x2a, 0xd9, 0x00, 0x78, 0x02, 0x27, 0xe5, 0x84}
	pps := []byte{0x68, 0xcb, 0x83, 0xcb, 0x20}
	tick := time.NewTicker(time.Second / fps)
	defer tick.Stop()
	for n := 0; ; n++ {
		au := &h264.AccessUnit{PTS: time.Duration(n) * time.Second / fps, Captured: time.Now(), Key: n%fps == 0}
		if au.Key {
			slice := make([]byte, s.keyBytes)
			slice[0] = 0x65
			au.NALUs = [][]byte{sps, pps, slice}
		} else {
			slice := make([]byte, s.pictureBytes)
			slice[0] = 0x61
			au.NALUs = [][]byte{slice}
		}
		publish(au)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// plainPion is how a program usually sends one stream to many with pion.
type plainPion struct {
	api        *webrtc.API
	track      *webrtc.TrackLocalStaticRTP
	packetizer rtp.Packetizer
}

func newPlainPion() (*plainPion, error) {
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeH264, SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
	}, "video", "pion")
	if err != nil {
		return nil, err
	}
	e := webrtc.SettingEngine{}
	e.SetIncludeLoopbackCandidate(true)
	return &plainPion{
		// Without an interceptor registry, the default interceptors.
		api:        webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(e)),
		track:      track,
		packetizer: rtp.NewPacketizerWithOptions(1200, &codecs.H264Payloader{}, rtp.NewRandomSequencer(), 90000),
	}, nil
}

func (p *plainPion) publish(au *h264.AccessUnit) {
	var annexB []byte
	for _, n := range au.NALUs {
		annexB = append(append(annexB, 0, 0, 0, 1), n...)
	}
	for _, packet := range p.packetizer.Packetize(annexB, 90000/fps) {
		_ = p.track.WriteRTP(packet) // a viewer that left is no error of the others
	}
}

func (p *plainPion) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := p.serve(w, r); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (p *plainPion) serve(w http.ResponseWriter, r *http.Request) error {
	offer, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	pc, err := p.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	sender, err := pc.AddTrack(p.track)
	if err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			if _, _, err := sender.Read(buf); err != nil {
				return
			}
		}
	}()
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(offer)}); err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	if err := pc.SetLocalDescription(answer); err != nil {
		return err
	}
	<-gathered
	w.WriteHeader(http.StatusCreated)
	_, err = io.WriteString(w, pc.LocalDescription().SDP)
	return err
}
