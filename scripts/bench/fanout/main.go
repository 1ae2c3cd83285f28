// Command fanout measures what a WebRTC viewer costs: processor time and
// memory of the sending process for each of many viewers, of lenscast and of
// plain pion (one TrackLocalStaticRTP shared by all, default interceptors,
// plain ICE sockets), one after the other in the same run.
//
//	go run ./scripts/bench/fanout -viewers 50 -seconds 20
//
// The stream is 1920x1080 at 60 fps and 8 Mbit/s as far as sizes go: an IDR a
// second, no real pictures. Sender and viewers are processes of their own on
// loopback; the processor time is what getrusage tells of the sender. The
// budgets are 0.45 of the processor time and 0.3 of the memory of plain pion.
//
// Only compare the processor time of runs in which both senders reach the
// full rate, some 890 packets a second and viewer: on a busy machine plain pion
// falls behind and sends less. The time of a packet can be compared then.
//
// bottleneck.sh beside it puts sender and viewer at the two ends of a slow
// link, and counts pictures that arrive damaged.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/lenscast/lenscast/scripts/bench/internal/command"
)

func main() { command.Main("fanout", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("fanout", flag.ContinueOnError)
	role := flags.String("role", "", "used by fanout itself to start its sender (\"lenscast\" or \"pion\") and its viewers (\"view\")")
	url := flags.String("url", "", "used by fanout itself: what the viewers ask")
	host := flags.String("host", "127.0.0.1", "`address` that the sender listens on")
	key := flags.Int("key", 90_000, "`bytes` of an IDR")
	picture := flags.Int("picture", 15_400, "`bytes` of another picture")
	viewers := flags.Int("viewers", 50, "number of viewers")
	seconds := flags.Int("seconds", 20, "length of the measurement")
	rounds := flags.Int("rounds", 1, "how often both are measured")
	profile := flags.String("cpuprofile", "", "write the sender's processor profile to this `file`.lenscast and .pion")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch *role {
	case "":
		return compare(ctx, out, *viewers, *seconds, *rounds, *profile)
	case "view":
		return view(ctx, *url, *viewers, os.Stdin, out)
	}
	s := sender{engine: *role, host: *host, profile: *profile, keyBytes: *key, pictureBytes: *picture}
	return s.run(ctx, os.Stdin, out)
}

// compare measures both senders and prints a table.
func compare(ctx context.Context, out io.Writer, viewers, seconds, rounds int, profile string) error {
	fmt.Fprintf(out, "%-9s %7s %16s %14s %10s %10s %11s %9s\n", "sender", "viewers", "ms CPU/viewer-s", "us CPU/packet", "KB/viewer", "RSS MB", "packets/s", "missing")
	for range rounds {
		var pion, ours result
		for _, r := range []struct {
			engine string
			result *result
		}{{"pion", &pion}, {"lenscast", &ours}} {
			var err error
			if *r.result, err = measure(ctx, r.engine, viewers, seconds, profile); err != nil {
				return fmt.Errorf("measure %s: %w", r.engine, err)
			}
			fmt.Fprintf(out, "%-9s %7d %16.2f %14.2f %10.0f %10.1f %11.0f %9d\n", r.engine, viewers, r.result.cpuPerViewer,
				r.result.cpuPerPacket(viewers), r.result.bytesPerViewer/1024, float64(r.result.sender.RSS)/1e6, r.result.packets/float64(viewers), r.result.missing)
		}
		fmt.Fprintf(out, "ratio: CPU %.2f (budget 0.45), CPU of a packet %.2f, memory %.2f (budget 0.30)\n",
			ours.cpuPerViewer/pion.cpuPerViewer, ours.cpuPerPacket(viewers)/pion.cpuPerPacket(viewers),
			ours.bytesPerViewer/pion.bytesPerViewer)
	}
	return nil
}

type result struct {
	cpuPerViewer   float64 // ms a second
	bytesPerViewer float64
	packets        float64 // a second, all viewers
	missing        uint64
	sender         usage
}

// cpuPerPacket is in microseconds a packet.
func (r result) cpuPerPacket(viewers int) float64 {
	return r.cpuPerViewer * 1000 * float64(viewers) / r.packets
}

// measure runs one sender and its viewers.
func measure(ctx context.Context, engine string, viewers, seconds int, profile string) (result, error) {
	args := []string{"-role", engine}
	if profile != "" {
		args = append(args, "-cpuprofile", profile+"."+engine)
	}
	sending, err := start(ctx, args...)
	if err != nil {
		return result{}, err
	}
	defer sending.stop()
	url, err := sending.answer()
	if err != nil {
		return result{}, err
	}
	idle, err := ask[usage](sending, "usage")
	if err != nil {
		return result{}, err
	}
	watching, err := start(ctx, "-role", "view", "-viewers", strconv.Itoa(viewers), "-url", strings.TrimSpace(url))
	if err != nil {
		return result{}, err
	}
	defer watching.stop()
	if _, err := watching.answer(); err != nil { // all see pictures
		return result{}, err
	}
	if _, err := ask[usage](sending, "sleep 3"); err != nil {
		return result{}, err
	}
	before, err := ask[usage](sending, "begin")
	if err != nil {
		return result{}, err
	}
	seenBefore, err := ask[seen](watching, "seen")
	if err != nil {
		return result{}, err
	}
	after, err := ask[usage](sending, "sleep "+strconv.Itoa(seconds))
	if err != nil {
		return result{}, err
	}
	seenAfter, err := ask[seen](watching, "seen")
	if err != nil {
		return result{}, err
	}
	elapsed := after.Time.Sub(before.Time).Seconds()
	return result{
		cpuPerViewer:   (after.CPU - before.CPU).Seconds() * 1000 / elapsed / float64(viewers),
		bytesPerViewer: float64(after.RSS-idle.RSS) / float64(viewers),
		packets:        float64(seenAfter.Packets-seenBefore.Packets) / elapsed,
		missing:        seenAfter.Missing - seenBefore.Missing,
		sender:         after,
	}, nil
}

// process is a child that answers a line with a line.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(ctx context.Context, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self, args...)}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return p, p.cmd.Start()
}

// stop ends the child by closing its standard input.
func (p *process) stop() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

func (p *process) answer() (string, error) {
	line, err := p.out.ReadString('\n')
	if errors.Is(err, io.EOF) {
		return "", errors.New("the process ended early")
	}
	return line, err
}

func ask[T any](p *process, question string) (T, error) {
	var t T
	if _, err := fmt.Fprintln(p.in, question); err != nil {
		return t, err
	}
	line, err := p.answer()
	if err != nil {
		return t, err
	}
	return t, json.Unmarshal([]byte(line), &t)
}
