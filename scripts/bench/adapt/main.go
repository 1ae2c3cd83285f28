// Command adapt measures how the encoder follows the network: a live encoder is
// watched or pushed through a link of 8, then 2, then 8 Mbit/s again, and the
// agent is asked what its encoder is told. adapt.sh makes the network.
//
// It runs the agent in the network namespace lcast-send and a receiver in
// lcast-view. The link is a tbf on the interface named "view" in lcast-mid.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/lenscast/lenscast/scripts/bench/internal/command"
)

const (
	asked = 6_500_000 // bit/s
	wide  = 8_000_000
	small = 2_000_000

	settled = 10 * time.Second // when the link becomes narrow
	narrow  = 20 * time.Second // how long it stays so
	after   = 20 * time.Second // how long it is watched wide again

	watchInterval = 100 * time.Millisecond // between two looks at agent and receiver
)

func main() { command.Main("adapt", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("adapt", flag.ContinueOnError)
	agent := flags.String("agent", "", "the lenscast binary")
	kinds := flags.String("kinds", "whep,whip,srt,rtp", "what to measure")
	buffers := flags.String("buffers", "50ms,250ms", "queues of the link")
	every := flags.Duration("every", time.Second, "time between the lines of the tables, at least 100ms")
	receive := flags.String("receive", "", "used by adapt itself to start a receiver of this kind")
	watch := flags.Bool("watch", false, "used by adapt itself to ask the agent")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case *receive != "":
		return receiveKind(ctx, *receive, out)
	case *watch:
		return watchAgent(ctx, out)
	case *agent == "":
		return errors.New("-agent is needed")
	}
	failed := 0
	for kind := range strings.SplitSeq(*kinds, ",") {
		for buffer := range strings.SplitSeq(*buffers, ",") {
			r, err := measure(ctx, *agent, kind, buffer)
			if err != nil {
				return fmt.Errorf("%s, queue of %s: %w", kind, buffer, err)
			}
			failed += r.print(out, max(*every, watchInterval))
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d goals were missed", failed)
	}
	return nil
}

// pushes are what makes the agent send to the receiver.
var pushes = map[string]string{
	"whep": "",
	"whip": `url = "whip://10.99.2.2:8889/whip"`,
	"srt":  `url = "srt://10.99.2.2:5004?latency=120ms"`,
	"rtp":  `url = "rtp://10.99.2.2:5004"`,
}

// measure runs one kind over one queue.
func measure(ctx context.Context, agent, kind, buffer string) (*result, error) {
	dir, err := os.MkdirTemp("", "adapt")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	push, known := pushes[kind]
	if !known {
		return nil, errors.New("there are whep, whip, srt and rtp")
	}
	config := fmt.Sprintf(`
[viewer]
listen = "10.99.1.1:8080"
token = "adapt"
[[camera]]
name = "cam"
source = "test"
size = "1280x720"
fps = 30
bitrate = "%dkbit"
min_bitrate = "300kbit"
`, asked/1000)
	if push != "" {
		config += "[[camera.push]]\n" + push + "\n"
	}
	file := filepath.Join(dir, "adapt.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	if err := link(ctx, "add", wide, buffer); err != nil {
		return nil, err
	}
	defer func() { _ = exec.Command("tc", "-n", "lcast-mid", "qdisc", "del", "dev", "view", "root").Run() }()

	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &result{kind: kind, buffer: buffer}
	var children sync.WaitGroup
	defer children.Wait()
	defer cancel()
	start := func(namespace string, lines func([]byte), args ...string) error {
		cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", namespace}, args...)...)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 5 * time.Second
		cmd.Stderr = os.Stderr
		if lines == nil {
			var log bytes.Buffer
			cmd.Stderr = &log
			lines = func([]byte) {}
		}
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		children.Go(func() {
			for scanner := bufio.NewScanner(pipe); scanner.Scan(); {
				lines(scanner.Bytes())
			}
			_ = cmd.Wait()
		})
		return nil
	}
	if err := start("lcast-send", nil, agent, "run", "-config", file); err != nil {
		return nil, err
	}
	if err := start("lcast-send", r.told, self, "-watch"); err != nil {
		return nil, err
	}
	if err := start("lcast-view", r.got, self, "-receive", kind); err != nil {
		return nil, err
	}
	if err := r.await(ctx, 20*time.Second); err != nil {
		return nil, err
	}
	for _, step := range []struct {
		hold time.Duration
		rate int
		at   *time.Time
	}{{settled, small, &r.down}, {narrow, wide, &r.up}, {after, wide, &r.end}} {
		select {
		case <-time.After(step.hold):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if err := link(ctx, "change", step.rate, buffer); err != nil {
			return nil, err
		}
		r.mu.Lock()
		*step.at = time.Now()
		r.mu.Unlock()
	}
	return r, nil
}

// link sets the rate of the link.
func link(ctx context.Context, verb string, rate int, buffer string) error {
	cmd := exec.CommandContext(ctx, "tc", "-n", "lcast-mid", "qdisc", verb, "dev", "view", "root",
		"tbf", "rate", fmt.Sprintf("%dbit", rate), "burst", "5kb", "latency", buffer)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("set the link: %w: %s", err, text)
	}
	return nil
}

// watchAgent asks the agent ten times a second, and writes what it says.
func watchAgent(ctx context.Context, out io.Writer) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var status struct {
			Cameras []struct {
				Target  float64 `json:"target_bitrate"`
				Width   int     `json:"width"`
				FPS     float64 `json:"fps"`
				Reduced string  `json:"reduced"`
			} `json:"cameras"`
		}
		if err := ask(ctx, "http://10.99.1.1:8080/api/status", &status); err != nil || len(status.Cameras) == 0 {
			continue // it has not started yet
		}
		c := status.Cameras[0]
		line := told{At: time.Now(), Target: c.Target, Width: c.Width, FPS: c.FPS, Reduced: c.Reduced}
		if err := json.NewEncoder(out).Encode(line); err != nil {
			return err
		}
	}
}

func ask(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer adapt")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}
