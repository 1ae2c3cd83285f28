package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/lenscast/lenscast/agent/offload/yield"
	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/packet"
	"github.com/lenscast/lenscast/transport/udp"
)

const (
	fps          = 30
	pictureBytes = 14 * 1180 // 14 packets of 1,200 bytes at most
	fileBytes    = 512 << 20
)

// send runs until ctx ends and writes what it did.
func send(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("send", flag.ContinueOnError)
	live := flags.String("live", "", "`URL` to send RTP to")
	receiver := flags.String("receiver", "", "`HOST:PORT` of lenscast receive")
	tokenFile := flags.String("token-file", "", "its token")
	bulk := flags.String("bulk", "none", "none, lenscast, plain, or a fixed rate in bit/s")
	out := flags.String("out", "", "`file` to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	pusher, publish, err := newPusher(*live)
	if err != nil {
		return err
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts.Go(func() {
		for ctx.Err() == nil {
			_ = pusher.Run(ctx, func(int) {}) // until its receiver is there
			time.Sleep(50 * time.Millisecond)
		}
	})
	parts.Go(func() { generate(ctx, publish) })
	if *bulk == "none" {
		<-ctx.Done()
		return writeJSON(*out, sent{})
	}
	token, err := os.ReadFile(*tokenFile)
	if err != nil {
		return err
	}
	t, err := newTransfer(*bulk, *receiver, strings.TrimSpace(string(token)), pusher)
	if err != nil {
		return err
	}
	if t.controller != nil {
		parts.Go(func() { _ = t.controller.Run(ctx) })
	}
	parts.Go(func() { t.run(ctx) })
	return writeJSON(*out, sent{t.sample(ctx)})
}

func newPusher(url string) (*udp.Pusher, func(*h264.AccessUnit), error) {
	dest, err := udp.ParseDestination(url)
	if err != nil {
		return nil, nil, err
	}
	s := stream.New()
	pusher, err := udp.New(udp.Params{
		Destination: dest, Clock: &packet.Clock{},
		Open: func() udp.Reader { return s.Subscribe(stream.AtOnce, 120) },
	})
	return pusher, s.Publish, err
}

// generate publishes pictures of one size, whose times are those of their
// sending.
func generate(ctx context.Context, publish func(*h264.AccessUnit)) {
	sps := []byte{0x67, 0x42, 0xc0, 0x2a, 0xd9, 0x00, 0x78, 0x02, 0x27, 0xe5, 0x84}
	pps := []byte{0x68, 0xcb, 0x83, 0xcb, 0x20}
	start := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / fps)))
		slice := make([]byte, pictureBytes)
		now := time.Now()
		au := &h264.AccessUnit{PTS: now.Sub(start), Captured: now, Key: n%fps == 0}
		if au.Key {
			slice[0] = 0x65
			au.NALUs = [][]byte{sps, pps, slice}
		} else {
			slice[0] = 0x61
			au.NALUs = [][]byte{slice}
		}
		publish(au)
	}
}

// transfer is the bulk.
type transfer struct {
	sender     *filetransfer.Sender
	controller *yield.Controller // nil for the controls
	pusher     *udp.Pusher

	mu    sync.Mutex
	bytes uint64 // sent by the live stream at since
	since time.Time
	rate  float64
}

func newTransfer(kind, receiver, token string, pusher *udp.Pusher) (*transfer, error) {
	t := &transfer{pusher: pusher}
	p := filetransfer.SenderParams{Address: receiver, Agent: "bench", Token: token, PlainToken: true, DSCP: 8}
	if kind == "lenscast" {
		t.controller = yield.New(yield.Params{
			Live: t.live,
			Path: func() (filetransfer.TCPInfo, bool) { return t.sender.TCPInfo() },
			Set:  func(rate int64) { _ = t.sender.SetPacing(rate) }, // a connection that is gone comes again
		})
		p.Pace = t.controller.Pace
	}
	var err error
	if t.sender, err = filetransfer.NewSender(p); err != nil {
		return nil, err
	}
	if kind == "lenscast" || kind == "plain" {
		return t, nil
	}
	var fixed float64
	if _, err := fmt.Sscan(kind, &fixed); err != nil {
		return nil, fmt.Errorf("-bulk %q is not none, lenscast, plain or a rate", kind)
	}
	return t, t.sender.SetPacing(int64(fixed))
}

// live tells the controller what main of the agent does.
func (t *transfer) live() yield.Live {
	st := t.pusher.Stats()
	t.mu.Lock()
	defer t.mu.Unlock()
	if elapsed := time.Since(t.since); elapsed > time.Second {
		t.rate = float64(st.Bytes-t.bytes) * 8 / elapsed.Seconds()
		t.since, t.bytes = time.Now(), st.Bytes
	}
	return yield.Live{Active: true, Bitrate: t.rate, RTT: st.Feedback.RTT, Loss: st.Feedback.Loss, Dropped: st.DroppedPictures}
}

// run sends files one after the other.
func (t *transfer) run(ctx context.Context) {
	content := &noise{}
	_, _ = rand.Read(content[:]) // never fails
	for ctx.Err() == nil {
		id := make([]byte, 16)
		_, _ = rand.Read(id) // likewise
		_, err := t.sender.Send(ctx, &filetransfer.Upload{
			File:    filetransfer.File{ID: hex.EncodeToString(id), Name: "bulk.bin", Size: fileBytes, Modified: time.Now()},
			Content: content,
		}, nil)
		if err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, "transfer:", err)
			time.Sleep(100 * time.Millisecond)
		}
	}
	_ = t.sender.Close() // what it sends does not matter
}

// sample looks at the transfer until ctx ends.
func (t *transfer) sample(ctx context.Context) (list []sample) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return list
		case now := <-ticker.C:
			info, ok := t.sender.TCPInfo()
			if !ok {
				continue
			}
			s := sample{At: now, Bytes: info.Acked, Info: info}
			if t.controller != nil {
				st := t.controller.Status()
				s.Rate, s.Why = st.Rate, st.Reason
			}
			list = append(list, s)
		}
	}
}

// noise is content that repeats.
type noise [1 << 16]byte

func (n *noise) ReadAt(p []byte, offset int64) (int, error) {
	for done := 0; done < len(p); {
		done += copy(p[done:], n[(offset+int64(done))%int64(len(n)):])
	}
	return len(p), nil
}
