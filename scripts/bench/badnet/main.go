// Command badnet compares what a receiver gets of the UDP senders of lenscast
// and of ffmpeg over bad networks: losses, delays, and a link of 30 Mbit/s with
// a queue of 75 KB, which keyframes of about 200 KB have to cross.
//
//	go run ./scripts/bench/badnet -seconds 15
//
// The receiver is ffmpeg. A picture counts when what was decoded is, bit for
// bit, what was encoded; a freeze is 0.2 s or more without such a picture. The
// networks are made by a relay on loopback with the same losses in every run.
// It needs ffmpeg with libsrt.
package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const fps = 30

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "badnet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("badnet", flag.ContinueOnError)
	seconds := flags.Int("seconds", 15, "length of each measurement")
	only := flags.String("only", "", "measure only the networks whose name contains this")
	clip := flags.String("send", "", "used by badnet itself to start a sender of this clip")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *clip != "" {
		return send(ctx, *clip, flags.Arg(0))
	}
	dir, err := os.MkdirTemp("", "badnet")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "clip")
	if err := encode(ctx, path); err != nil {
		return err
	}
	original, err := sums(ctx, path+".ts")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%-22s %-4s %-9s %9s %8s %10s\n", "network", "form", "sender", "intact", "freezes", "frozen s")
	for _, n := range []struct {
		name string
		network
	}{
		{"clean", network{}},
		{"30 Mbit/s, 75 KB", network{rate: 30e6, queue: 75_000}},
		{"loss 1 %, 20 ms", network{loss: 0.01, delay: 20 * time.Millisecond}},
		{"loss 5 %, 20 ms", network{loss: 0.05, delay: 20 * time.Millisecond}},
		{"loss 10 %, 20 ms", network{loss: 0.1, delay: 20 * time.Millisecond}},
		{"loss 1 %, 100 ms", network{loss: 0.01, delay: 100 * time.Millisecond}},
		{"loss 5 %, 100 ms", network{loss: 0.05, delay: 100 * time.Millisecond}},
	} {
		if !strings.Contains(n.name, *only) {
			continue
		}
		for _, form := range []string{"rtp", "udp", "srt"} {
			for _, sender := range []string{"ffmpeg", "lenscast"} {
				r, err := measure(ctx, path, form, sender, n.network, original, time.Duration(*seconds)*time.Second)
				if err != nil {
					return fmt.Errorf("%s, %s by %s: %w", n.name, form, sender, err)
				}
				fmt.Fprintf(out, "%-22s %-4s %-9s %8.1f%% %8d %10.1f\n", n.name, form, sender, 100*r.intact, r.freezes, r.frozen.Seconds())
			}
		}
	}
	return nil
}

// result is what a receiver saw.
type result struct {
	intact  float64 // share of pictures, 0 to 1
	freezes int
	frozen  time.Duration
}

// patience is how long the pictures of a measurement may come late. A receiver
// that gets nothing intact does so for ever.
const patience = 10 * time.Second

// srtLatency allows for four round trips of 200 ms.
const srtLatency = 800

func measure(ctx context.Context, path, form, sender string, n network, original map[string]bool, d time.Duration) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, d+patience)
	defer cancel()
	receive, err := freePort()
	if err != nil {
		return result{}, err
	}
	port, err := startRelay(ctx, n, receive)
	if err != nil {
		return result{}, err
	}
	input := fmt.Sprintf("udp://127.0.0.1:%d?fifo_size=50000&buffer_size=8000000", receive)
	url := fmt.Sprintf("%s://127.0.0.1:%d", form, port)
	format := "mpegts"
	options := []string{"-f", format}
	switch form {
	case "rtp":
		input, format = path+".sdp", "rtp"
		options = []string{"-protocol_whitelist", "file,udp,rtp", "-buffer_size", "8000000"}
		if err := describe(ctx, path, receive); err != nil {
			return result{}, err
		}
	case "srt":
		input = fmt.Sprintf("srt://127.0.0.1:%d?mode=listener&latency=%d", receive, srtLatency*1000)
		url += fmt.Sprintf("?latency=%d", srtLatency)
	}
	judge := exec.CommandContext(ctx, "ffmpeg", append(append([]string{"-v", "quiet", "-analyzeduration", "500000"}, options...),
		"-i", input, "-fps_mode", "passthrough", "-f", "framemd5", "-flush_packets", "1", "-")...)
	lines, err := judge.StdoutPipe()
	if err != nil {
		return result{}, err
	}
	if err := judge.Start(); err != nil {
		return result{}, err
	}
	var source *exec.Cmd
	if sender == "lenscast" {
		source = exec.CommandContext(ctx, os.Args[0], "-send", path, url)
	} else {
		switch form {
		case "udp":
			url += "?pkt_size=1316"
		case "srt":
			url = fmt.Sprintf("srt://127.0.0.1:%d?pkt_size=1316&latency=%d", port, srtLatency*1000)
		}
		source = exec.CommandContext(ctx, "ffmpeg", "-v", "quiet", "-re", "-stream_loop", "-1", "-i", path+".ts", "-an", "-c", "copy", "-f", format, url)
	}
	if err := source.Start(); err != nil {
		return result{}, err
	}
	r := watch(lines, original, d)
	cancel()
	_, _ = source.Wait(), judge.Wait() // both were killed
	return r, nil
}

// watch reads what was decoded for so long from the first picture on.
func watch(lines io.Reader, original map[string]bool, d time.Duration) (r result) {
	scanner := bufio.NewScanner(lines)
	first, last, intact := -1, -1, 0 // in pictures
	for scanner.Scan() {
		pts, sum, ok := parse(scanner.Text())
		if !ok || !original[sum] {
			continue
		}
		if first < 0 {
			first, last = pts, pts
		}
		if gap := time.Duration(pts-last) * time.Second / fps; gap >= 200*time.Millisecond {
			r.freezes++
			r.frozen += gap
		}
		last = pts
		intact++
		if time.Duration(last-first)*time.Second/fps >= d {
			break
		}
	}
	// The clip starts over with a picture at the time of the last one.
	expected := max(last-first+1, int(d.Seconds()*fps))
	r.intact = min(float64(intact)/float64(expected), 1)
	return r
}

// parse reads a line of ffmpeg's framemd5: stream, dts, pts, duration, size,
// sum.
func parse(line string) (pts int, sum string, ok bool) {
	f := strings.Split(line, ",")
	if len(f) != 6 {
		return 0, "", false
	}
	pts, err := strconv.Atoi(strings.TrimSpace(f[2]))
	return pts, strings.TrimSpace(f[5]), err == nil
}

// sums returns those of the pictures of a file.
func sums(ctx context.Context, path string) (map[string]bool, error) {
	out, err := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-i", path, "-f", "framemd5", "-").Output()
	if err != nil {
		return nil, fmt.Errorf("decode clip: %w", err)
	}
	set := make(map[string]bool)
	for line := range bytes.Lines(out) {
		if _, sum, ok := parse(string(line)); ok {
			set[sum] = true
		}
	}
	return set, nil
}

// freePort returns an even port with a free one above it, as RTP likes it.
func freePort() (int, error) {
	for {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return 0, err
		}
		port := c.LocalAddr().(*net.UDPAddr).Port
		c.Close()
		if port%2 == 0 {
			return port, nil
		}
	}
}
