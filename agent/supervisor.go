package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/lenscast/lenscast/agent/config"
	"github.com/lenscast/lenscast/agent/status"
	"github.com/lenscast/lenscast/agent/web"
	"github.com/lenscast/lenscast/transport/packet"
	"github.com/lenscast/lenscast/transport/webrtc"
)

const (
	// stopTimeout is how long the end may take, all in all.
	stopTimeout = 2 * time.Second

	// restartTimeout is how long one part may take to end on a reload. A
	// source that hangs in a driver may need all of it.
	restartTimeout = 5 * time.Second

	// statusInterval is how often systemd gets a new status line.
	statusInterval = 5 * time.Second
)

// supervisor runs everything that a configuration asks for, and on a reload
// restarts what changed. Its methods are called by the goroutine of run, apart
// from report and ServeHTTP.
type supervisor struct {
	options runOptions
	out     *logOutput
	log     *slog.Logger
	notify  *status.Notifier
	version string
	started time.Time
	failed  chan error     // a part that ended by itself
	clock   packet.Clock   // of all pushes
	record  chan os.Signal // SIGUSR1 starts recordings, SIGUSR2 stops them

	mu       sync.Mutex // guards what report and ServeHTTP read
	cfg      *config.Config
	cameras  map[string]*runningCamera // by name
	rtc      *runningWebRTC            // nil before the start
	archive  *runningArchive           // nil without [recording]
	offload  *runningOffload           // nil without [offload]
	feel     feel                      // of the live picture
	problems []string                  // of the last reload

	diskMissing string // why [recording] waits for its folder, empty when it does not

	web *runningWeb
}

// runningWebRTC and runningWeb are the two servers with what was made of.
type runningWebRTC struct {
	*part
	server *webrtc.Server
}

type runningWeb struct {
	*part
	server *web.Server
}

func newSupervisor(o runOptions, out *logOutput) *supervisor {
	return &supervisor{
		options: o,
		out:     out,
		log:     out.logger(),
		notify:  status.NewNotifier(),
		version: readBuild().version,
		started: time.Now(),
		failed:  make(chan error, 1),
		record:  make(chan os.Signal, 1),
		cameras: make(map[string]*runningCamera),
	}
}

// run starts everything, serves until ctx ends or a part fails, and ends
// everything. from is the file that cfg was read from.
func (s *supervisor) run(ctx context.Context, cfg *config.Config, from string, reload <-chan os.Signal) error {
	s.log.Info("lenscast starts", logKeyVersion, s.version, logKeyFile, from)
	s.warn(cfg)
	err := s.start(ctx, cfg)
	if err == nil {
		s.note(s.notify.Ready())
		s.log.Info("open this address in a browser", logKeyURL, s.web.server.URL())
		err = s.serve(ctx, reload)
	}
	s.log.Info("lenscast ends")
	s.note(s.notify.Stopping())
	return errors.Join(err, s.stop())
}

// serve waits for what happens from outside.
func (s *supervisor) serve(ctx context.Context, reload <-chan os.Signal) error {
	watchdog := startPart(ctx, "watchdog", s.runWatchdog, func(string, error) {})
	defer func() {
		watchdog.cancel()
		<-watchdog.done
	}()
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	for {
		s.note(s.notify.Status(s.report().Summary()))
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.failed:
			return err
		case <-reload:
			s.note(s.notify.Reloading())
			s.reload(ctx)
			s.note(s.notify.Ready())
		case sig := <-s.record:
			s.recordOnSignal(sig)
		case <-tick.C:
			s.followDisk(ctx)
		}
	}
}

func (s *supervisor) runWatchdog(ctx context.Context) error {
	s.notify.RunWatchdog(ctx, func() error { return s.report().Health() }, func(err error) {
		s.log.Error("watchdog not fed", logKeyError, err)
	})
	<-ctx.Done()
	return nil
}

// partFailed takes note that a part ended by itself. The first one counts.
func (s *supervisor) partFailed(name string, err error) {
	select {
	case s.failed <- fmt.Errorf("%s: %w", name, err):
	default:
	}
}

// start starts all parts, the viewer page last, so that it shows nothing that
// is not there yet.
func (s *supervisor) start(ctx context.Context, cfg *config.Config) error {
	s.mu.Lock()
	s.cfg = cfg
	s.mu.Unlock()
	if err := s.startWebRTC(ctx, cfg); err != nil {
		return fmt.Errorf("webrtc: %w", err)
	}
	_ = s.startArchive(ctx, cfg) // the status tells why, and it is tried again
	for _, c := range cfg.Cameras {
		if err := s.startCamera(ctx, c, cfg.WebRTC); err != nil {
			return err
		}
	}
	if err := s.startOffload(ctx, cfg); err != nil {
		return err
	}
	return s.startWeb(ctx, cfg)
}

// stop ends all parts at the same time.
func (s *supervisor) stop() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), stopTimeout,
		fmt.Errorf("did not end within %v", stopTimeout))
	defer cancel()
	var parts []*part
	if s.web != nil {
		parts = append(parts, s.web.part)
	}
	if s.rtc != nil {
		parts = append(parts, s.rtc.part)
	}
	for _, c := range s.cameras {
		parts = append(parts, c.part)
		for _, p := range c.pushes {
			parts = append(parts, p.part)
		}
		if c.recorder != nil {
			parts = append(parts, c.recorder.part)
		}
	}
	if s.archive != nil {
		parts = append(parts, s.archive.part)
	}
	if s.offload != nil {
		parts = append(parts, s.offload.parts()...)
	}
	for _, p := range parts {
		p.cancel()
	}
	var errs []error
	for _, p := range parts {
		if err := p.stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s %w", p.name, err))
		}
	}
	return errors.Join(errs...)
}

func (s *supervisor) startWebRTC(ctx context.Context, cfg *config.Config) error {
	server, err := webrtc.NewServer(webrtcParams(cfg, s.feed, s.log.With(logKeyPart, "webrtc")))
	if err != nil {
		return err
	}
	if err := server.Open(ctx); err != nil {
		return err
	}
	rtc := &runningWebRTC{part: startPart(ctx, "webrtc", server.Run, s.partFailed), server: server}
	s.mu.Lock()
	s.rtc = rtc
	s.mu.Unlock()
	return nil
}

func webrtcParams(cfg *config.Config, feed func(string) (webrtc.Feed, error), log *slog.Logger) webrtc.ServerParams {
	p := webrtc.ServerParams{
		Listen:      cfg.WebRTC.Listen.String(),
		MaxSessions: cfg.Viewer.MaxViewers,
		Camera:      feed,
		Log:         log,
	}
	for _, ip := range cfg.WebRTC.PublicAddresses {
		p.PublicAddresses = append(p.PublicAddresses, ip.Addr)
	}
	p.ICEServers = iceServers(cfg.WebRTC)
	return p
}

func iceServers(cfg config.WebRTC) []webrtc.ICEServer {
	var all []webrtc.ICEServer
	for _, server := range cfg.ICEServers {
		all = append(all, webrtc.ICEServer{
			URL: server.URL, Username: server.Username, Credential: server.Password.Reveal(),
		})
	}
	return all
}

func (s *supervisor) startWeb(ctx context.Context, cfg *config.Config) error {
	server, err := web.New(web.Params{
		Listen:     cfg.Viewer.Listen.String(),
		Password:   cfg.Viewer.Password.Reveal(),
		Token:      cfg.Viewer.Token.Reveal(),
		TLS:        web.TLSMode(cfg.Viewer.TLS),
		CertFile:   cfg.Viewer.TLSCert,
		KeyFile:    cfg.Viewer.TLSKey,
		StateDir:   stateDir(),
		WHEP:       s,
		Recordings: http.HandlerFunc(s.recordings),
		Pushes:     http.HandlerFunc(s.servePush),
		Offload:    http.HandlerFunc(s.offloaded),
		Status:     func() any { return s.report() },
		Metrics:    func(w io.Writer) { s.report().WriteMetrics(w) },
		Health:     func() error { return s.report().Health() },
		Log:        s.log.With(logKeyPart, "web"),
	})
	if err != nil {
		return err
	}
	s.web = &runningWeb{part: startPart(ctx, "web", server.Run, s.partFailed), server: server}
	return nil
}

// ServeHTTP passes WHEP requests to the server that runs now: a reload may
// replace it under the viewer page.
func (s *supervisor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	rtc := s.rtc
	s.mu.Unlock()
	rtc.server.ServeHTTP(w, r)
}

// note logs that systemd could not be told something.
func (s *supervisor) note(err error) {
	if err != nil {
		s.log.Warn("systemd not told", logKeyError, err)
	}
}

func (s *supervisor) warn(cfg *config.Config) {
	for _, w := range cfg.Warnings() {
		s.log.Warn(w.String())
	}
}
