package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lenscast/lenscast/agent/config"
	"github.com/lenscast/lenscast/agent/credentials"
	"github.com/lenscast/lenscast/agent/progress"
	"github.com/lenscast/lenscast/agent/status"
	"github.com/lenscast/lenscast/transport/filetransfer"
)

func receiveCommand() command {
	return command{
		name: "receive", args: "-dir DIR | -store s3://BUCKET/PREFIX [flags]",
		summary: "take files from agents into a folder or an object store",
		help: `
Files come to DIR/AGENT/CAMERA/DATE/NAME when they are whole and verified. One
that is cut off goes on later. Beyond loopback it needs -token-file or -agents,
and speaks TLS with a certificate of its own making, whose key it prints for
"lenscast send -pin".

Several receivers behind one address may share a bucket: one goes on with what
another has begun. They need the same -cert and -key, which agents know them by.

  -dir DIR            the folder where files go
  -store URL          the bucket where they go instead, s3://BUCKET/PREFIX; keys come
                      from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
  -store-keys FILE    a file with the keys, as ~/.aws/credentials
  -store-endpoint URL the object store, default AWS_ENDPOINT_URL or Amazon's
  -store-region NAME  its region, default AWS_REGION
  -store-plain        use http to a store on another machine
  -listen HOST:PORT   default localhost:9000; ":9000" is every address
  -token-file FILE    a token that all agents share
  -agents FILE        a list of agents, each with credentials and a quota of its
                      own; read again at SIGHUP
  -cert, -key FILE    a certificate instead of its own making
  -plain              take files without TLS from other machines too
  -legacy             take the older exchange, from loopback
  -legacy-anywhere    take it from everywhere: it has no credentials
  -keep-free SIZE     room that stays free on the folder's disk, default 1GiB
  -quota SIZE         most that an agent may keep here, default no limit
  -max-size SIZE      largest file, default 1TiB
  -expire DURATION    how long an unfinished file is kept, default 168h
  -status HOST:PORT   serve /api/status, /metrics and /healthz there
  -log-format FORMAT  text or json
  -log-level LEVEL    debug, info, warn or error
  -json               progress as JSON lines also on a terminal
`,
		run: runReceive,
	}
}

// receiveOptions are the flags of "lenscast receive".
type receiveOptions struct {
	dir                                 string
	listen                              config.Address
	status                              *config.Address // nil: none
	tokenFile, agents, cert, key        string
	plain, legacy, legacyAnywhere, json bool
	keepFree, quota, maxSize            config.Size
	expire                              config.Duration
	log                                 config.Log
	store                               storeOptions
}

func runReceive(ctx context.Context, std streams, args []string) error {
	o := receiveOptions{listen: config.Address{Host: "localhost", Port: 9000}, keepFree: 1 << 30, log: config.Default().Log}
	fs := flag.NewFlagSet("receive", flag.ContinueOnError)
	fs.StringVar(&o.dir, "dir", "", "")
	fs.StringVar(&o.store.url, "store", "", "")
	fs.StringVar(&o.store.keys, "store-keys", "", "")
	fs.StringVar(&o.store.endpoint, "store-endpoint", cmp.Or(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL")), "")
	fs.StringVar(&o.store.region, "store-region", cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")), "")
	fs.BoolVar(&o.store.plain, "store-plain", false, "")
	fs.StringVar(&o.tokenFile, "token-file", "", "")
	fs.StringVar(&o.agents, "agents", "", "")
	fs.StringVar(&o.cert, "cert", "", "")
	fs.StringVar(&o.key, "key", "", "")
	fs.BoolVar(&o.plain, "plain", false, "")
	fs.BoolVar(&o.legacy, "legacy", false, "")
	fs.BoolVar(&o.legacyAnywhere, "legacy-anywhere", false, "")
	fs.BoolVar(&o.json, "json", false, "")
	for name, v := range map[string]interface{ UnmarshalText([]byte) error }{
		"listen": &o.listen, "keep-free": &o.keepFree, "quota": &o.quota, "max-size": &o.maxSize, "expire": &o.expire,
		"log-format": &o.log.Format, "log-level": &o.log.Level,
	} {
		fs.Func(name, "", func(text string) error { return v.UnmarshalText([]byte(text)) })
	}
	fs.Func("status", "", func(text string) error {
		o.status = new(config.Address)
		return o.status.UnmarshalText([]byte(text))
	})
	if _, err := parseFlags(fs, args, 0); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}

	ctx, stop := untilSignal(ctx)
	defer stop()
	out := newLogOutput(std.err)
	defer out.Close()
	out.set(o.log)
	return o.receive(ctx, std, out.logger())
}

// check finds what makes no sense, before anything is opened.
func (o *receiveOptions) check() error {
	switch {
	case o.dir == "" && o.store.url == "":
		return usageError("where to? give a folder with -dir, or a bucket with -store")
	case o.dir != "" && o.store.url != "":
		return usageError("-dir and -store are both places for the files: give one of them")
	case o.store.url != "" && (o.legacy || o.legacyAnywhere):
		return usageError("the older exchange does not tell how large a file is, which an object store has to know: use -dir")
	case o.tokenFile != "" && o.agents != "":
		return usageError("-token-file is for all agents, -agents for each its own: give one of them")
	case (o.cert == "") != (o.key == ""):
		return usageError("-cert and -key belong together")
	case o.status != nil && !o.status.Loopback():
		return usageError("-status has no credentials, so it serves loopback addresses only, not %s: use localhost", o.status)
	}
	return nil
}

// receive runs until ctx ends.
func (o *receiveOptions) receive(ctx context.Context, std streams, log *slog.Logger) error {
	ln, err := net.Listen("tcp", o.listen.String())
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer ln.Close() // closed before by the receiver when that has run
	list, err := o.credentials(ln.Addr())
	if err != nil {
		return err
	}
	store, err := o.openStore(ctx, log)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // everything in it was durable before it was confirmed
	secure, pin, err := o.certificate(ln.Addr(), log)
	if err != nil {
		return err
	}
	receiver, err := filetransfer.NewReceiver(filetransfer.ReceiverParams{
		Store: store, Authorize: list.Authorize, TLS: secure, Plain: o.plain,
		Legacy: o.legacy, LegacyAnywhere: o.legacyAnywhere, MaxFileSize: int64(o.maxSize), Log: log,
	})
	if err != nil {
		return err
	}
	var web net.Listener
	if o.status != nil {
		if web, err = net.Listen("tcp", o.status.String()); err != nil {
			return fmt.Errorf("listen for status: %w", err)
		}
		defer web.Close() // likewise
	}
	confined, err := confine(o.dir, o.reread()...)
	if err != nil {
		return err
	}
	log.Info("receiving", "address", ln.Addr().String(), "to", cmp.Or(o.dir, o.store.url), "pin", pin, "confined", confined)

	notify := status.NewNotifier()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return receiver.Serve(ctx, ln) })
	group.Go(func() error { return store.Run(ctx) })
	group.Go(func() error { return o.reloads(ctx, list, notify, log) })
	group.Go(func() error { return collectGarbage(ctx, receiver) })
	group.Go(func() error { return showReceiver(ctx, receiver, progress.New(std.out, o.json)) })
	if web != nil {
		group.Go(func() error { return serveReceiverStatus(ctx, web, receiver) })
	}
	if err := notify.Ready(); err != nil {
		log.Warn("systemd does not hear", logKeyError, err)
	}
	return group.Wait()
}

// reread returns what must be readable while the receiver runs: the folder of
// the list of agents, because editors replace the file, and what names and
// certificates of an object store are looked up in.
func (o *receiveOptions) reread() []string {
	var paths []string
	if o.agents != "" {
		paths = append(paths, filepath.Dir(o.agents))
	}
	if o.store.url != "" {
		paths = append(paths, lookupFolders()...)
	}
	return paths
}

// credentials decides who may send, and whether that is enough for addr.
func (o *receiveOptions) credentials(addr net.Addr) (*credentials.List, error) {
	switch {
	case o.agents != "":
		list, err := credentials.Load(o.agents)
		if err != nil {
			return nil, &exitError{exitUsage, err}
		}
		return list, nil
	case o.tokenFile != "":
		token, err := config.ReadSecret(o.tokenFile)
		if err != nil {
			return nil, usageError("read token: %w", err)
		}
		return credentials.SharedToken(token, int64(o.quota)), nil
	case isLoopback(addr):
		return credentials.Open(int64(o.quota)), nil
	default:
		return nil, usageError("listening on %v needs -token-file or -agents: everybody could send files", addr)
	}
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// certificate returns what is needed for TLS at addr, and the pin of its key.
func (o *receiveOptions) certificate(addr net.Addr, log *slog.Logger) (*tls.Config, string, error) {
	var cert tls.Certificate
	var err error
	switch {
	case o.cert != "":
		if cert, err = loadCertificate(o.cert, o.key); err == nil {
			if words := config.CertificateWarning(cert.Leaf, time.Now()); words != "" {
				log.Warn(words, logKeyFile, o.cert)
			}
		}
	case o.store.url != "" && (o.plain || isLoopback(addr)):
		return nil, "", nil
	case o.store.url != "":
		return nil, "", usageError("-store needs -cert and -key: all receivers that share it show agents the same key")
	default:
		cert, err = credentials.SelfSigned(filepath.Join(o.dir, ".lenscast", "certificate.pem"))
	}
	if err != nil {
		return nil, "", err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequestClientCert, // known by its key, which the list of agents has
		// A sender keeps its connection, and has a new one greeted in full.
		SessionTicketsDisabled: true,
	}, filetransfer.FormatPin(filetransfer.KeyDigest(cert.Leaf)), nil
}

// reloads reads the list of agents again at every SIGHUP.
func (o *receiveOptions) reloads(ctx context.Context, list *credentials.List, notify *status.Notifier, log *slog.Logger) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
		}
		if o.agents == "" {
			log.Warn("nothing to read again: there is no -agents file")
			continue
		}
		err := errors.Join(notify.Reloading(), list.Reload(o.agents), notify.Ready())
		if err != nil {
			log.Error("list of agents not read again, the old one goes on", logKeyError, err)
			continue
		}
		log.Info("list of agents read again", "agents", list.Agents())
	}
}

// collectGarbage sees to it that the heap grows by no more than it may with the
// connections that are open. While there are none, many may come at once.
func collectGarbage(ctx context.Context, r *filetransfer.Receiver) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for percent := 0; ; {
		n := r.Connections()
		if n == 0 {
			n = math.MaxInt
		}
		if now := transferGC(n); now != percent {
			percent = now
			debug.SetGCPercent(percent)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// showReceiver shows what is being received.
func showReceiver(ctx context.Context, r *filetransfer.Receiver, display *progress.Display) error {
	defer display.Close()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			display.Show(r.Transfers())
		}
	}
}
