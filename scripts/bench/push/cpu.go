package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"
)

// compare sends 1920x1080 at 60 fps and 8 Mbit/s to sockets that count: to
// one destination, and to eight at the same time. There lenscast is one process
// as in the agent, and ffmpeg as many as there are destinations. The budget is
// half of ffmpeg's processor time.
func compare(ctx context.Context, out io.Writer, dir string, d time.Duration) error {
	path := filepath.Join(dir, "clip")
	if err := encode(ctx, path, "testsrc2=size=1920x1080", 60, 8_000_000); err != nil {
		return err
	}
	fmt.Fprintf(out, "%-4s %12s %-9s %8s %12s %6s\n", "form", "destinations", "sender", "Mbit/s", "ms CPU/Mbit", "share")
	for _, form := range []struct{ name, format, scheme, options string }{
		{"RTP", "rtp", "rtp", ""},
		{"TS", "mpegts", "udp", "?pkt_size=1316"},
	} {
		for _, n := range []int{1, 8} {
			var base float64
			for _, sender := range []string{"ffmpeg", "lenscast"} {
				cost, rate, err := measure(ctx, n, d, func(ports []int) (cmds []*exec.Cmd) {
					var urls []string
					for _, port := range ports {
						url := fmt.Sprintf("%s://127.0.0.1:%d", form.scheme, port)
						urls = append(urls, url)
						cmds = append(cmds, ffmpegSender(ctx, path, form.format, url+form.options))
					}
					if sender == "lenscast" {
						return []*exec.Cmd{lenscastSender(ctx, path, urls...)}
					}
					return cmds
				})
				if err != nil {
					return err
				}
				if sender == "ffmpeg" {
					base = cost
				}
				fmt.Fprintf(out, "%-4s %12d %-9s %8.2f %12.3f %6.2f\n", form.name, n, sender, rate, cost, cost/base)
			}
		}
	}
	return nil
}

// measure runs senders to n sinks and returns what they cost once they are
// under way.
func measure(ctx context.Context, n int, d time.Duration, senders func(ports []int) []*exec.Cmd) (msPerMbit, mbits float64, err error) {
	var bytes atomic.Int64
	var ports []int
	for range n {
		s, err := newSink()
		if err != nil {
			return 0, 0, err
		}
		defer s.Close()
		ports = append(ports, s.LocalAddr().(*net.UDPAddr).Port)
		go count(s, &bytes)
	}
	cmds := senders(ports)
	for _, cmd := range cmds {
		if err := cmd.Start(); err != nil {
			return 0, 0, err
		}
		defer func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}()
	}
	if err := sleep(ctx, 4*time.Second); err != nil { // start-up does not count
		return 0, 0, err
	}
	cpu, got := -cpuTime(cmds), -bytes.Load()
	if err := sleep(ctx, d); err != nil {
		return 0, 0, err
	}
	cpu, got = cpu+cpuTime(cmds), got+bytes.Load()
	mbit := float64(got) * 8 / 1e6
	return cpu.Seconds() * 1000 / mbit, mbit / d.Seconds(), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cpuTime returns the processor time of all threads of processes, to the
// nanosecond (Documentation/scheduler/sched-stats.rst, /proc/pid/schedstat). A
// thread that has just ended does not count.
func cpuTime(cmds []*exec.Cmd) (total time.Duration) {
	for _, cmd := range cmds {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", cmd.Process.Pid)) // the pattern is valid
		for _, task := range tasks {
			var ns int64
			if text, err := os.ReadFile(task); err == nil {
				_, _ = fmt.Sscan(string(text), &ns)
			}
			total += time.Duration(ns)
		}
	}
	return total
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
