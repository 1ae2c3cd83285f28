package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lenscast/lenscast/agent/config"
	"github.com/lenscast/lenscast/agent/progress"
	"github.com/lenscast/lenscast/agent/retry"
	"github.com/lenscast/lenscast/transport/filetransfer"
)

func sendCommand() command {
	return command{
		name: "send", args: "[flags] FILE… HOST:PORT",
		summary: "send files to a receiver (lenscast receive)",
		help: `
A file that is cut off goes on where the receiver has it, also when the command
is run again. "confirmed" means that the receiver has the whole file, verified,
on its disk. Exit codes: 0 all confirmed, 1 none, 3 some.

  -agent NAME         who sends: the folder at the receiver, default the host's name
  -camera NAME        a folder below that
  -token-file FILE    the token that the receiver knows
  -pin sha256//KEY    the receiver's public key, as it prints it at its start
  -ca FILE            or who signed its certificate
  -cert, -key FILE    a certificate of our own, if the receiver wants one
  -plain              no TLS; on loopback that is so anyway unless -pin is given
  -delete             delete each file here once it is confirmed
  -rate RATE          send at most so much, like "4Mbit"
  -parallel N         files at the same time; default: large ones one by one,
                      small ones up to 16
  -retry DURATION     how long to try without progress, default 5m, 0s: once
  -legacy             the older exchange, which confirms nothing
  -json               JSON lines also on a terminal
  -v                  tell what limits each connection
`,
		run: runSend,
	}
}

// sendOptions are the flags of "lenscast send".
type sendOptions struct {
	agent, camera, tokenFile             string
	pin, ca, cert, key                   string
	plain, remove, legacy, json, verbose bool
	rate                                 config.Rate
	parallel                             int
	retry                                config.Duration
}

func runSend(ctx context.Context, std streams, args []string) error {
	o := sendOptions{retry: config.Duration(5 * time.Minute)}
	fs := flag.NewFlagSet("send", flag.ContinueOnError)
	fs.StringVar(&o.agent, "agent", "", "")
	fs.StringVar(&o.camera, "camera", "", "")
	fs.StringVar(&o.tokenFile, "token-file", "", "")
	fs.StringVar(&o.pin, "pin", "", "")
	fs.StringVar(&o.ca, "ca", "", "")
	fs.StringVar(&o.cert, "cert", "", "")
	fs.StringVar(&o.key, "key", "", "")
	fs.BoolVar(&o.plain, "plain", false, "")
	fs.BoolVar(&o.remove, "delete", false, "")
	fs.BoolVar(&o.legacy, "legacy", false, "")
	fs.BoolVar(&o.json, "json", false, "")
	fs.BoolVar(&o.verbose, "v", false, "")
	fs.Func("rate", "", func(text string) error { return o.rate.UnmarshalText([]byte(text)) })
	fs.IntVar(&o.parallel, "parallel", 0, "")
	fs.Func("retry", "", func(text string) error { return o.retry.UnmarshalText([]byte(text)) })
	args, err := parseFlags(fs, args, len(args))
	if err != nil {
		return err
	}
	if len(args) < 2 {
		return usageError("which file, and where to? see: lenscast help send")
	}
	files, address := args[:len(args)-1], args[len(args)-1]
	if err := o.check(address); err != nil {
		return err
	}

	ctx, stop := untilSignal(ctx)
	defer stop()
	display := progress.New(std.out, o.json)
	defer display.Close()
	if o.legacy {
		return sendLegacy(ctx, display, files, address)
	}
	if o.parallel == 0 {
		o.parallel = usualParallel(files)
	}
	debug.SetGCPercent(transferGC(o.parallel))
	params, err := o.sender(address)
	if err != nil {
		return err
	}
	here, _ := os.Getwd() // without it a relative name is looked up for itself, and says what is wrong
	job := &sendJob{o: o, here: here, params: params, display: display, files: make(chan string), active: make(map[string]filetransfer.Progress)}
	return job.run(ctx, files)
}

// check finds combinations that make no sense, before anything is opened.
func (o *sendOptions) check(address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return usageError("the last argument is the receiver's HOST:PORT, %q is not", address)
	}
	switch {
	case o.legacy && o.remove:
		return usageError("-legacy can't be used with -delete: the older exchange does not tell whether a file has arrived")
	case o.legacy && (o.tokenFile != "" || o.pin != "" || o.ca != "" || o.cert != "" || o.rate != 0):
		return usageError("-legacy goes with no token, key or rate: the older exchange has none")
	case o.plain && (o.pin != "" || o.ca != "" || o.cert != ""):
		return usageError("-plain means no TLS, so -pin, -ca and -cert have no use")
	case o.pin != "" && o.ca != "":
		return usageError("-pin says which key to trust, so -ca has no use")
	case (o.cert == "") != (o.key == ""):
		return usageError("-cert and -key belong together")
	case o.parallel < 0 || o.parallel > maxParallel:
		return usageError("-parallel is 1 to %d", maxParallel)
	}
	return nil
}

// sender makes the parameters of the senders.
func (o *sendOptions) sender(address string) (filetransfer.SenderParams, error) {
	p := filetransfer.SenderParams{
		Address: address, Agent: o.agent, PlainToken: o.plain,
		BufferBytes: min(allBuffers/o.parallel, oneBuffer),
	}
	if p.Agent == "" {
		host, err := os.Hostname()
		if err != nil {
			return p, fmt.Errorf("find this host's name, give one with -agent: %w", err)
		}
		p.Agent = host
	}
	if o.tokenFile != "" {
		var err error
		if p.Token, err = config.ReadSecret(o.tokenFile); err != nil {
			return p, usageError("read token: %w", err)
		}
	}
	host, _, _ := net.SplitHostPort(address) // checked
	ip, err := netip.ParseAddr(host)
	loopback := host == "localhost" || err == nil && ip.IsLoopback()
	if o.plain || loopback && o.pin == "" && o.ca == "" {
		return p, nil
	}
	if p.TLS, err = transferTLS(o.pin, o.ca, o.cert, o.key); err != nil {
		return p, usageError("%w", err)
	}
	return p, nil
}

// sendJob sends a list of files, some at a time.
type sendJob struct {
	o       sendOptions
	here    string // the working directory: looking it up takes longer than opening a file
	params  filetransfer.SenderParams
	display *progress.Display
	files   chan string

	mu        sync.Mutex
	active    map[string]filetransfer.Progress // by path
	shown     time.Time
	confirmed int
}

func (j *sendJob) run(ctx context.Context, files []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var workers sync.WaitGroup
	errs := make([]error, j.o.parallel)
	for i := range min(j.o.parallel, len(files)) {
		workers.Go(func() {
			if errs[i] = j.work(ctx); errs[i] != nil {
				cancel(errs[i])
			}
		})
	}
feed:
	for _, path := range files {
		select {
		case j.files <- path:
		case <-ctx.Done():
			break feed
		}
	}
	close(j.files)
	workers.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	switch {
	case j.confirmed == len(files):
		return nil
	case len(files) == 1:
		return errors.New("the file is not confirmed: keep it")
	case j.confirmed == 0:
		return fmt.Errorf("none of %d files is confirmed: keep them", len(files))
	default:
		return &exitError{exitPart, fmt.Errorf("%d of %d files are confirmed", j.confirmed, len(files))}
	}
}

// work sends files over one connection. Its error concerns all files.
func (j *sendJob) work(ctx context.Context) error {
	sender, err := filetransfer.NewSender(j.params)
	if err != nil {
		return usageError("%w", uncoded(err))
	}
	defer func() { _ = sender.Close() }() // every file was confirmed or reported
	if j.o.rate > 0 {
		if err := sender.SetPacing(int64(j.o.rate) / int64(j.o.parallel)); err != nil {
			return err
		}
	}
	for path := range j.files {
		if err := j.send(ctx, sender, path); err != nil {
			j.display.Report(progress.Event{Event: "failed", File: path, Text: fmt.Sprintf("%s: failed: %s", path, inWords(err))})
			continue
		}
		j.mu.Lock()
		j.confirmed++
		j.mu.Unlock()
	}
	return nil
}

// send sends one file, again and again as long as that may help.
func (j *sendJob) send(ctx context.Context, sender *filetransfer.Sender, path string) error {
	absolute := path
	if !filepath.IsAbs(path) {
		absolute = filepath.Join(j.here, path)
	}
	file, err := filetransfer.OpenLocalFile(absolute)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // opened for reading: nothing to lose
	file.File.Camera = j.o.camera
	file.File.SHA256 = recordedDigest(path, file.File.Size)
	forget, err := openHashes(&file.Upload)
	if err != nil {
		j.display.Report(progress.Event{Event: "note", File: path, Text: fmt.Sprintf("%s: going on later will need a second reading: %v", path, err)})
	}
	receipt, err := j.attempts(ctx, sender, file, path)
	j.end(path)
	forget(err == nil)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s: confirmed, %s, sha256 %s, as %s", path, progress.Bytes(file.File.Size), receipt.SHA256, receipt.Name)
	j.display.Report(progress.Event{
		Event: "confirmed", File: path, Size: file.File.Size, Name: receipt.Name, SHA256: receipt.SHA256.String(), Text: text,
	})
	if !j.o.remove {
		return nil
	}
	if err := file.Remove(receipt); err != nil {
		return fmt.Errorf("it is confirmed, but was not deleted here: %w", err)
	}
	return nil
}

func (j *sendJob) attempts(ctx context.Context, sender *filetransfer.Sender, file *filetransfer.LocalFile, path string) (filetransfer.Receipt, error) {
	backoff := retry.New(retry.Policy{Floor: 500 * time.Millisecond, Cap: 30 * time.Second})
	best, since := int64(0), time.Now()
	var told time.Time
	for {
		receipt, err := sender.Send(ctx, &file.Upload, func(p filetransfer.Progress) {
			if p.Sent > best && !p.Checking {
				best, since = p.Sent, time.Now()
				backoff.Reset()
			}
			j.show(path, p)
			if j.o.verbose && time.Since(told) > 5*time.Second {
				told = time.Now()
				j.explain(sender, path)
			}
		})
		if j.o.verbose {
			j.explain(sender, path)
		}
		if mismatched(err) && file.File.SHA256 != nil {
			// The file was changed after it was recorded: what it is now counts.
			file.File.SHA256 = nil
			continue
		}
		if err == nil || ctx.Err() != nil || filetransfer.Permanent(err) || time.Since(since) > time.Duration(j.o.retry) {
			return receipt, err
		}
		j.display.Report(progress.Event{Event: "retry", File: path, Text: fmt.Sprintf("%s: %s; trying again", path, inWords(err))})
		if err := waitRetry(ctx, backoff, err); err != nil {
			return receipt, err
		}
	}
}

// waitRetry waits before another attempt, at least as long as the receiver
// asked for.
func waitRetry(ctx context.Context, backoff *retry.Backoff, err error) error {
	var said *filetransfer.Error
	if !errors.As(err, &said) || said.RetryAfter == 0 {
		return backoff.Wait(ctx)
	}
	timer := time.NewTimer(said.RetryAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (j *sendJob) explain(sender *filetransfer.Sender, path string) {
	if info, ok := sender.TCPInfo(); ok {
		j.display.Report(progress.Event{Event: "note", File: path, Text: fmt.Sprintf("%s: %s", path, info)})
	}
}

// showEvery spares gathering all progress at every frame.
const showEvery = 100 * time.Millisecond

func (j *sendJob) show(path string, p filetransfer.Progress) {
	j.mu.Lock()
	p.Agent = "" // it is always this one
	j.active[path] = p
	if time.Since(j.shown) < showEvery {
		j.mu.Unlock()
		return
	}
	j.shown = time.Now()
	all := make([]filetransfer.Progress, 0, len(j.active))
	for _, p := range j.active {
		all = append(all, p)
	}
	j.mu.Unlock()
	slices.SortFunc(all, func(a, b filetransfer.Progress) int { return strings.Compare(a.File, b.File) })
	j.display.Show(all)
}

func (j *sendJob) end(path string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.active, path)
}

func sendLegacy(ctx context.Context, display *progress.Display, files []string, address string) error {
	sent := 0
	for _, path := range files {
		err := filetransfer.SendLegacy(ctx, address, path, func(p filetransfer.Progress) {
			display.Show([]filetransfer.Progress{p})
		})
		if err != nil {
			display.Report(progress.Event{Event: "failed", File: path, Text: fmt.Sprintf("%s: failed: %s", path, inWords(err))})
			continue
		}
		sent++
		display.Report(progress.Event{Event: "sent", File: path, Text: path + ": sent, not confirmed: this exchange can't tell whether it has arrived, so keep the file"})
	}
	switch sent {
	case len(files):
		return nil
	case 0:
		return errors.New("nothing was sent")
	default:
		return &exitError{exitPart, fmt.Errorf("%d of %d files were sent", sent, len(files))}
	}
}

// uncoded takes the code from an error of our own side: it is for the other.
func uncoded(err error) error {
	var said *filetransfer.Error
	if errors.As(err, &said) {
		return errors.New(said.Reason)
	}
	return err
}

// inWords says an error of a transfer, and what to do about it, where that is
// known.
func inWords(err error) string {
	var stranger *tls.CertificateVerificationError
	var invalid x509.CertificateInvalidError
	var said *filetransfer.Error
	words := advised(err).Error()
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the receiver's certificate is out of date: renew it, or set this machine's clock"
	case errors.As(err, &stranger):
		return fmt.Sprintf("%v: give the receiver's key with -pin, it prints it at its start", stranger.Err)
	case errors.Is(err, filetransfer.ErrInsecure):
		return words + ": use -pin, or -plain if the network is yours"
	case errors.As(err, &said) && said.Code == filetransfer.CodeDenied:
		return words + ": see -agent, -token-file and -cert"
	case errors.Is(err, syscall.ECONNREFUSED):
		return words + ": is lenscast receive running there?"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return words + ": the receiver has ended the connection, its log tells why"
	default:
		return words
	}
}
