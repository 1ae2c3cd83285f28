package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/lenscast/lenscast/agent/config"
	"github.com/lenscast/lenscast/agent/offload"
	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/agent/wallclock"
	"github.com/lenscast/lenscast/transport/filetransfer"
)

// runningOffload sends what is recorded to a server.
type runningOffload struct {
	*part
	queue   *offload.Queue
	handler http.Handler
	door    *part // for "lenscast queue", nil where the folder can't have one
}

// parts returns what has to be stopped.
func (r *runningOffload) parts() []*part {
	if r.door == nil {
		return []*part{r.part}
	}
	return []*part{r.part, r.door}
}

// startOffload begins to send what is recorded, if there is a server.
func (s *supervisor) startOffload(ctx context.Context, cfg *config.Config) error {
	if s.archive == nil || len(cfg.Offload.Servers()) == 0 {
		return nil
	}
	params, err := offloadParams(cfg)
	if err != nil {
		return err
	}
	clock, err := wallclock.NewSystem()
	if err != nil {
		return err
	}
	params.Archive = unsent{s.archive.archive}
	params.Clock = func() (time.Time, bool) {
		r := clock.Read()
		return r.Wall, r.Trusted
	}
	params.Live = s.live
	if cfg.Offload.When == config.OffloadIdle {
		params.Busy = s.busy
	}
	params.Log = s.log.With(logKeyPart, "offload")
	q, err := offload.New(params)
	if err != nil {
		return err
	}
	running := &runningOffload{queue: q, handler: offload.NewHandler(q)}
	running.part = startPart(ctx, "offload", q.Run, s.partFailed)
	running.door = s.openDoor(ctx, cfg.Recording.Dir, running.handler)
	s.mu.Lock()
	s.offload = running
	s.mu.Unlock()
	return nil
}

func (s *supervisor) stopOffload(ctx context.Context) error {
	running := s.offload
	if running == nil {
		return nil
	}
	s.mu.Lock()
	s.offload = nil
	s.mu.Unlock()
	var errs []error
	for _, p := range running.parts() {
		errs = append(errs, stopForRestart(ctx, p))
	}
	return errors.Join(errs...)
}

// restartOffload goes on by other rules. When they can't be had, the old ones
// come back.
func (s *supervisor) restartOffload(ctx context.Context, old, next *config.Config) error {
	err := s.startOffload(ctx, next)
	if err == nil {
		return nil
	}
	next.Offload = old.Offload
	return errors.Join(fmt.Errorf("[offload] not reloaded: %w", err), s.startOffload(ctx, old))
}

// wakeOffload tells the queue that a recording is finished.
func (s *supervisor) wakeOffload() {
	s.mu.Lock()
	running := s.offload
	s.mu.Unlock()
	if running != nil {
		running.queue.Wake()
	}
}

// offloaded answers the requests for the queue.
func (s *supervisor) offloaded(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	running := s.offload
	s.mu.Unlock()
	if running == nil {
		http.Error(w, "nothing is offloaded, add [offload] with server to the configuration", http.StatusNotFound)
		return
	}
	running.handler.ServeHTTP(w, r)
}

// offloadParams makes what the configuration alone tells of the queue.
func offloadParams(cfg *config.Config) (offload.Params, error) {
	o := cfg.Offload
	p := offload.Params{
		NewestFirst: o.Order == config.NewestFirst, Interface: o.Interface, MaxRate: int64(o.MaxRate),
	}
	for _, w := range o.Windows {
		p.Windows = append(p.Windows, offload.Window{From: time.Duration(w.From), To: time.Duration(w.To)})
	}
	agent, err := agentName(&o)
	if err != nil {
		return p, err
	}
	var errs []error
	for _, server := range o.Servers() {
		params, err := senderParams(server, agent)
		if err != nil {
			errs = append(errs, fmt.Errorf("offload to %s: %w", server.Server, err))
			continue
		}
		p.Servers = append(p.Servers, params)
	}
	return p, errors.Join(errs...)
}

// agentName is the name that this machine has at the servers.
func agentName(o *config.Offload) (string, error) {
	if o.Agent != "" {
		return o.Agent, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("find this machine's name, write one as agent in [offload]: %w", err)
	}
	return host, nil
}

// senderParams makes what a sender to one server needs, and tries whether one
// can be made of it.
func senderParams(server config.OffloadServer, agent string) (filetransfer.SenderParams, error) {
	p := filetransfer.SenderParams{
		Address: server.Server.String(), Agent: agent,
		Token: server.Token.Reveal(), PlainToken: server.TLS == config.TransferTLSOff,
	}
	asked := server.Pin != "" || server.CA != ""
	if server.TLS == config.TransferTLSOn && (asked || !server.Server.Loopback()) {
		var err error
		if p.TLS, err = transferTLS(server.Pin, server.CA, server.Cert, server.Key); err != nil {
			return p, err
		}
	}
	sender, err := filetransfer.NewSender(p)
	if err != nil {
		return p, err
	}
	return p, sender.Close() // never connected
}

// checkServer returns what is wrong with a server of [offload] that only a
// sender knows.
func checkServer(o *config.Offload, server config.OffloadServer) error {
	agent, err := agentName(o)
	if err == nil {
		_, err = senderParams(server, agent)
	}
	return err
}

// unsent is the archive as the queue sees it.
type unsent struct{ archive *archive.Archive }

var _ offload.Archive = unsent{}

// Unsent implements offload.Archive.
func (u unsent) Unsent() []offload.Recording {
	var list []offload.Recording
	for _, i := range u.archive.List() {
		if i.Unsent() {
			list = append(list, unsentRecording(i))
		}
	}
	return list
}

func unsentRecording(i archive.Info) offload.Recording {
	r := offload.Recording{
		ID: i.ID, Camera: i.Camera, Name: path.Base(i.ID) + ".mp4", Size: i.Size,
		Ended: i.End.Wall, Modified: i.Start.Wall,
	}
	// A clock that was never set may be a little before 1970.
	if r.Modified.Unix() < 0 {
		r.Modified = time.Unix(0, 0).UTC()
	}
	// A digest that can't be read is none that the server could confirm.
	_ = r.SHA256.UnmarshalText([]byte(i.SHA256))
	return r
}

// Open implements offload.Archive.
func (u unsent) Open(id string) (offload.Content, error) {
	// Another process may have marked or deleted it.
	i, err := u.archive.Refresh(id)
	if err == nil && !i.Unsent() {
		return nil, fmt.Errorf("recording %q: %w", id, offload.ErrUnknown)
	}
	var m *archive.Media
	if err == nil {
		m, err = u.archive.Media(id)
	}
	if err != nil {
		return nil, gone(err)
	}
	return content{m}, nil
}

// content is an open recording as the queue reads it.
type content struct{ media *archive.Media }

// ReadAt implements io.ReaderAt.
func (c content) ReadAt(p []byte, off int64) (int, error) { return c.media.File().ReadAt(p, off) }

// Close implements io.Closer.
func (c content) Close() error { return c.media.Close() }

// SetConfirmed implements offload.Archive.
func (u unsent) SetConfirmed(id, server string, r filetransfer.Receipt) error {
	return gone(u.archive.SetOffloaded(id, archive.Offloaded{To: server, Name: filepath.ToSlash(r.Name), SHA256: r.SHA256.String()}))
}

// SetDropped implements offload.Archive.
func (u unsent) SetDropped(id string, dropped bool) error {
	return gone(u.archive.SetOffloadDropped(id, dropped))
}

// gone says in the queue's words that a recording is not there any more.
func gone(err error) error {
	if errors.Is(err, archive.ErrNotFound) {
		return fmt.Errorf("%w: %w", offload.ErrUnknown, err)
	}
	return err
}

// doorName is the socket in the folder of recordings at which "lenscast queue"
// finds the agent that runs. Whoever may write to the folder may use it.
const doorName = ".lenscast.sock"

// openDoor serves the queue to "lenscast queue". Where the folder can't have a
// socket, on an exFAT stick for example, the command works on the files.
func (s *supervisor) openDoor(ctx context.Context, dir string, handler http.Handler) *part {
	name := filepath.Join(dir, doorName)
	_ = os.Remove(name) // left over by a process that was killed
	var ln net.Listener
	var err error
	err = inFolder(dir, func(short string) error {
		ln, err = net.Listen("unix", filepath.Join(short, doorName))
		return err
	})
	if err != nil {
		s.log.Info("lenscast queue can't see what the running agent does", logKeyError, err)
		return nil
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second}
	return startPart(ctx, "offload door", func(ctx context.Context) error {
		defer func() { _ = os.Remove(name) }() // in the way of nobody
		defer context.AfterFunc(ctx, func() { _ = server.Close() })()
		return server.Serve(ln)
	}, s.partFailed)
}

// inFolder calls f with a short name for a folder: the address of a socket has
// 108 bytes at most (unix(7)).
func inFolder(dir string, f func(short string) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d", d.Fd()))
}
