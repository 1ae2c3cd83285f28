package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lenscast/lenscast/scripts/bench/internal/peer"
)

// settle is how long a sender runs before it is measured: start-up does not
// count.
const settle = 6 * time.Second

// bench compares senders that all pass on the same clip.
type bench struct {
	lenscast     string // the program
	clip         string
	mbit         int   // bitrate that the clip was encoded for, Mbit/s
	destinations []int // how many at the same time
	duration     time.Duration
	rounds       int
}

// form is a way to send, in the words of both senders.
type form struct{ name, format, scheme, options string }

// compare sends 1920x1080 at 60 fps to sockets that count, each sender in one
// process however many destinations there are. The budget, of 8 Mbit/s, is
// half of ffmpeg's processor time.
//
// What a wake-up costs changes from minute to minute, on a virtual machine by
// a third and more. So the senders are measured by turns, the first of one
// round last in the next, each share is of the two next to each other in time,
// and the median of the rounds counts.
func (b *bench) compare(ctx context.Context, out io.Writer) error {
	for _, f := range []form{
		{"RTP", "rtp", "rtp", ""},
		{"TS", "mpegts", "udp", "?pkt_size=1316"},
	} {
		for _, n := range b.destinations {
			if err := b.takeTurns(ctx, out, f, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeTurns measures the senders of one form to n destinations.
func (b *bench) takeTurns(ctx context.Context, out io.Writer, f form, n int) error {
	senders := []string{"ffmpeg", "lenscast"}
	results := make(map[string][]result)
	var shares []float64
	for range b.rounds {
		for _, sender := range senders {
			r, err := b.measure(ctx, n, b.sender(sender, f))
			if err != nil {
				return err
			}
			results[sender] = append(results[sender], r)
		}
		slices.Reverse(senders)
		last := len(shares)
		shares = append(shares, results["lenscast"][last].msPerMbit/results["ffmpeg"][last].msPerMbit)
	}
	slices.Sort(senders)
	for _, sender := range senders {
		r := results[sender]
		share := "1"
		if sender == "lenscast" {
			middle := median(shares, func(share float64) float64 { return share })
			share = fmt.Sprintf("%.2f (%.2f to %.2f)", middle, slices.Min(shares), slices.Max(shares))
		}
		fmt.Fprintf(out, "%6d %-4s %12d %-9s %8.2f %12.3f %12.0f  %s\n", b.mbit, f.name, n, sender,
			median(r, func(r result) float64 { return r.mbits }),
			median(r, func(r result) float64 { return r.msPerMbit }),
			median(r, func(r result) float64 { return r.switches }), share)
	}
	return nil
}

// sender returns how to start a sender.
func (b *bench) sender(name string, f form) func(ctx context.Context, in int, ports []int) (*exec.Cmd, error) {
	return func(ctx context.Context, in int, ports []int) (*exec.Cmd, error) {
		var urls []string
		for _, port := range ports {
			urls = append(urls, fmt.Sprintf("%s://127.0.0.1:%d", f.scheme, port))
		}
		if name == "lenscast" {
			return peer.Lenscast(ctx, b.lenscast, in, urls...)
		}
		for i := range urls {
			urls[i] += f.options
		}
		return peer.FFmpeg(ctx, in, f.format, urls...), nil
	}
}

// median returns the middle of what get returns for each of the list, which is
// not empty.
func median[T any](list []T, get func(T) float64) float64 {
	var values []float64
	for _, v := range list {
		values = append(values, get(v))
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// result is what a sender did, and what for.
type result struct {
	mbits     float64 // sent, Mbit/s
	msPerMbit float64 // of processor time
	switches  float64 // between threads, a second
}

// measure runs a sender to n sinks and returns what it costs once it is under
// way.
func (b *bench) measure(ctx context.Context, n int, sender func(ctx context.Context, in int, ports []int) (*exec.Cmd, error)) (result, error) {
	ctx, cancel := context.WithCancel(ctx)
	var bytes atomic.Int64
	var ports []int
	for range n {
		s, err := newSink()
		if err != nil {
			cancel()
			return result{}, err
		}
		defer s.Close()
		ports = append(ports, s.LocalAddr().(*net.UDPAddr).Port)
		go count(s, &bytes)
	}
	in, err := peer.FreePort()
	if err != nil {
		cancel()
		return result{}, err
	}
	cmd, err := sender(ctx, in, ports)
	if err != nil {
		cancel()
		return result{}, err
	}
	feed := exec.CommandContext(ctx, "ffmpeg", "-v", "quiet", "-re", "-stream_loop", "-1", "-i", b.clip,
		"-c", "copy", "-f", "mpegts", fmt.Sprintf("udp://127.0.0.1:%d?pkt_size=1316", in))
	for _, c := range []*exec.Cmd{cmd, feed} {
		if err := c.Start(); err != nil {
			cancel()
			return result{}, err
		}
		defer func() { _ = c.Wait() }()
	}
	defer cancel() // kills both, and comes before they are waited for

	if err := sleep(ctx, settle); err != nil {
		return result{}, err
	}
	before, got := usageOf(cmd.Process.Pid), bytes.Load()
	if err := sleep(ctx, b.duration); err != nil {
		return result{}, err
	}
	after := usageOf(cmd.Process.Pid)
	mbit := float64(bytes.Load()-got) * 8 / 1e6
	if mbit == 0 {
		return result{}, fmt.Errorf("%s sent nothing", cmd.Path)
	}
	return result{
		mbits:     mbit / b.duration.Seconds(),
		msPerMbit: float64(after.cpu-before.cpu) / 1e6 / mbit,
		switches:  float64(after.switches-before.switches) / b.duration.Seconds(),
	}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// usage is what the threads of a process have used since they began: processor
// time in ns, and how often they were switched to another one. A thread that
// has just ended does not count.
type usage struct{ cpu, switches int64 }

// usageOf reads /proc/PID/task/TID/schedstat, to the nanosecond
// (Documentation/scheduler/sched-stats.rst), and status (proc(5)).
func usageOf(pid int) (u usage) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid)) // the pattern is valid
	for _, task := range tasks {
		var n int64
		if text, err := os.ReadFile(filepath.Join(task, "schedstat")); err == nil {
			_, _ = fmt.Sscan(string(text), &n)
			u.cpu += n
		}
		text, err := os.ReadFile(filepath.Join(task, "status"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(line, ":"); strings.HasSuffix(name, "voluntary_ctxt_switches") {
				_, _ = fmt.Sscan(value, &n)
				u.switches += n
			}
		}
	}
	return u
}

// newSink opens a socket to send to, at an even port as RTP likes it.
func newSink() (*net.UDPConn, error) {
	for {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, err
		}
		if c.LocalAddr().(*net.UDPAddr).Port%2 == 0 {
			return c, c.SetReadBuffer(4 << 20)
		}
		c.Close()
	}
}

// count adds up what arrives until the socket is closed.
func count(c *net.UDPConn, bytes *atomic.Int64) {
	buf := make([]byte, 2048)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		bytes.Add(int64(n))
	}
}
