// Command badnet compares what receivers get of the UDP senders of lenscast,
// ffmpeg and GStreamer over bad networks, and prints it as a table:
//
//	go run ./scripts/bench/badnet -seconds 15 | tee badnet.md
//	go run ./scripts/bench/badnet -recovery
//
// The second kills, or freezes, the receivers of lenscast, and tells how long it
// takes to notice and to come back to them.
//
// All senders get the same camera, about 5 Mbit/s of MPEG-TS over UDP with a
// keyframe every second, and pass it on as it is. Where the network says "live
// encoder" lenscast has its test camera instead, of the same rate, which follows
// the network; the others have none that could, and get the same as ever.
//
// The networks are made by a relay on loopback that draws the same losses for
// all. One receiver for each form judges all senders: of RTP and of WHIP it asks
// for what is missing (RFC 4585), of WHIP it is pion for the rest, and of SRT it
// is GStreamer's, that is libsrt. The ffmpeg and GStreamer of Debian 12 can't
// send WHIP: their RTP stands below.
//
// A picture can be shown when it is, bit for bit, what the camera sent, and so
// are all before it from the last keyframe on. A freeze is 0.2 s or more
// without a new one. Latencies are from the camera to the last byte here.
//
// Receivers of RTP and WHIP play at once unless -playout says otherwise. A
// picture that waits for a packet to come again holds up what is shown for a
// round trip: at a delay of 100 ms that is a freeze, each time. SRT always plays
// after its latency, 120 ms or four round trips, and has none; with as much of
// -playout neither have the others.
//
// It needs ffmpeg with libsrt and GStreamer with srtsrc and srtsink.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/lenscast/lenscast/scripts/bench/internal/command"
	"github.com/lenscast/lenscast/scripts/bench/internal/peer"
)

func main() { command.Main("badnet", run) }

// networks are the rows of the table. Those that lose packets are as far away
// as a server on the same continent.
func networks(d time.Duration) []namedNetwork {
	const near, far, farthest = 20 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond
	steps := []step{{0, 8e6}, {d / 3, 2e6}, {d * 2 / 3, 5e6}}
	return []namedNetwork{
		{"loss 0 %", network{delay: near}},
		{"loss 1 %", network{delay: near, loss: 0.01}},
		{"loss 5 %", network{delay: near, loss: 0.05}},
		{"loss 10 %", network{delay: near, loss: 0.10}},
		{"loss 1 %, delay 100 ms", network{delay: far, loss: 0.01}},
		{"loss 5 %, delay 100 ms", network{delay: far, loss: 0.05}},
		{"loss 10 %, delay 100 ms", network{delay: far, loss: 0.10}},
		{"delay 100 ms", network{delay: far}},
		{"delay 300 ms", network{delay: farthest}},
		{"8, 2, 5 Mbit/s", network{delay: near, steps: steps}},
		{"8, 2, 5 Mbit/s, live encoder", network{delay: near, steps: steps, live: true}},
	}
}

type namedNetwork struct {
	name string
	network
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("badnet", flag.ContinueOnError)
	seconds := flags.Int("seconds", 15, "length of each measurement")
	only := flags.String("only", "", "measure only the networks whose name contains this")
	forms := flags.String("forms", "whip,rtp,udp,srt", "what to measure")
	senders := flags.String("senders", "lenscast,ffmpeg,gstreamer", "whom to measure")
	playout := flags.Duration("playout", 0, "how long after they were sent receivers of RTP and WHIP show pictures, at least")
	recovery := flags.Bool("recovery", false, "measure how lenscast comes back to receivers that fail")
	kernel := flags.Bool("netem", false, "let netem make losses and delays, not the relay: needs root and a loopback of one's own")
	program := flags.String("lenscast", "", "the program, if it need not be built")
	server := flags.String("subscribe", "", "used by badnet itself to start a client of a UDP server")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *server != "" {
		return subscribe(*server)
	}
	dir, err := os.MkdirTemp("", "badnet")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b := bench{duration: time.Duration(*seconds) * time.Second, playout: *playout, netem: *kernel, lenscast: *program}
	if b.lenscast == "" {
		if b.lenscast, err = peer.Build(ctx, dir); err != nil {
			return err
		}
	}
	if b.source, err = newSource(ctx, dir); err != nil {
		return err
	}
	if *recovery {
		return b.recoveries(ctx, out)
	}
	fmt.Fprintln(out, "| network | form | sender | Mbit/s | freezes | frozen s | p50 ms | p99 ms | keyframes damaged |")
	fmt.Fprintln(out, "|---|---|---|--:|--:|--:|--:|--:|--:|")
	for _, n := range networks(b.duration) {
		if !strings.Contains(n.name, *only) {
			continue
		}
		for form := range strings.SplitSeq(*forms, ",") {
			for sender := range strings.SplitSeq(*senders, ",") {
				if form == "whip" && sender != "lenscast" {
					fmt.Fprintf(out, "| %s | %s | %s | no WHIP | | | | | |\n", n.name, form, sender)
					continue
				}
				v, err := b.measure(ctx, form, sender, n.network)
				if err != nil {
					return fmt.Errorf("%s, %s by %s: %w", n.name, form, sender, err)
				}
				fmt.Fprintf(out, "| %s | %s | %s | %.2f | %d | %.1f | %d | %d | %d of %d |\n", n.name, form, sender,
					v.rate/1e6, v.freezes, v.frozen.Seconds(), v.p50.Milliseconds(), v.p99.Milliseconds(), v.damagedKeys, v.keys)
			}
		}
	}
	return nil
}

// bench measures one sender at a time.
type bench struct {
	lenscast string // the program
	source   *source
	duration time.Duration
	playout  time.Duration
	netem    bool // and not the relay
}

const (
	// settle is how long a sender may find its rhythm before it counts.
	settle = 3 * time.Second

	// patience is how long it may take to begin.
	patience = 15 * time.Second
)

// receiverLatency is what a receiver grants lost packets to come again: four
// round trips, as the makers of SRT advise, and at least SRT's default.
func receiverLatency(n network) time.Duration { return max(8*n.delay, 120*time.Millisecond) }

func (b *bench) measure(ctx context.Context, form, sender string, n network) (verdict, error) {
	ctx, cancel := context.WithCancel(ctx)
	live := n.live && sender == "lenscast"
	j := newJudge(b.source)
	if live {
		j = newJudge(&tap{})
	}
	var running []*exec.Cmd
	defer func() {
		cancel()
		for _, cmd := range running {
			_ = cmd.Wait() // was killed
		}
	}()
	receive, err := peer.FreePort()
	if err != nil {
		return verdict{}, err
	}
	start := func(cmd *exec.Cmd) error {
		running = append(running, cmd)
		return cmd.Start()
	}
	front, err := peer.FreePort()
	if err != nil {
		return verdict{}, err
	}
	latency := receiverLatency(n)
	if err := b.receive(ctx, form, receive, front, latency, j, start); err != nil {
		return verdict{}, err
	}
	if b.netem {
		if err := emulate(ctx, n, receive); err != nil {
			return verdict{}, err
		}
		n.loss, n.delay = 0, 0
	}
	link := newRelay(n)
	for lane := range 2 { // RTCP has the port above RTP
		if err := link.open(ctx, front+lane, receive+lane); err != nil {
			return verdict{}, err
		}
	}
	in, err := peer.FreePort()
	if err != nil {
		return verdict{}, err
	}
	played := make(chan error, 1)
	var cmd *exec.Cmd
	if live {
		played <- nil
		cmd, err = b.liveSender(ctx, form, in, front, latency, j)
	} else {
		cmd, err = b.sender(ctx, form, sender, in, front, latency)
	}
	if err != nil {
		return verdict{}, err
	}
	if err := start(cmd); err != nil {
		return verdict{}, err
	}
	if !live {
		go func() { played <- b.source.play(ctx, in) }()
	}

	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if pictures, _ := j.count(); pictures > 0 {
			break
		}
		if ctx.Err() != nil {
			return verdict{}, ctx.Err()
		}
		if time.Since(begun) > patience {
			break // it is frozen for all of the time
		}
	}
	if err := sleep(ctx, settle); err != nil {
		return verdict{}, err
	}
	from := time.Now()
	link.begin()
	if err := sleep(ctx, b.duration+2*latency+queueTime); err != nil { // for those that come late
		return verdict{}, err
	}
	if form == "rtp" || form == "whip" {
		j.playout = b.playout
	}
	v := j.verdict(from, from.Add(b.duration))
	cancel()
	return v, <-played
}

// receive starts the receiver of a form at a port. Senders send to front.
func (b *bench) receive(ctx context.Context, form string, port, front int, latency time.Duration, j *judge, start func(*exec.Cmd) error) error {
	if form == "srt" {
		inner, err := peer.FreePort()
		if err != nil {
			return err
		}
		pipeline := fmt.Sprintf("srtsrc uri=srt://127.0.0.1:%d?mode=listener latency=%d ! udpsink host=127.0.0.1 port=%d sync=false async=false",
			port, latency.Milliseconds(), inner)
		if err := start(exec.CommandContext(ctx, "gst-launch-1.0", append([]string{"-q"}, strings.Fields(pipeline)...)...)); err != nil {
			return err
		}
		if err := sleep(ctx, 2*time.Second); err != nil { // until it listens: ffmpeg tries once only
			return err
		}
		port = inner
	}
	c, err := listen(ctx, port)
	if err != nil {
		return err
	}
	switch form {
	case "whip":
		return serveWHIP(ctx, front, c, j, latency)
	case "rtp":
		return receiveRTP(ctx, port, c, j, latency)
	}
	go receiveTS(c, j.picture)
	return nil
}

// sender makes the command that passes the camera at the port in on to the
// port to.
func (b *bench) sender(ctx context.Context, form, sender string, in, to int, latency time.Duration) (*exec.Cmd, error) {
	ms := latency.Milliseconds()
	url := fmt.Sprintf("%s://127.0.0.1:%d", form, to)
	switch sender {
	case "lenscast":
		return peer.Lenscast(ctx, b.lenscast, in, lenscastURL(form, to, latency))
	case "ffmpeg":
		switch form {
		case "rtp":
			return peer.FFmpeg(ctx, in, "rtp", url), nil
		case "srt":
			url += fmt.Sprintf("?latency=%d&pkt_size=1316", ms*1000)
		default:
			url += "?pkt_size=1316"
		}
		return peer.FFmpeg(ctx, in, "mpegts", url), nil
	case "gstreamer":
		sink := fmt.Sprintf("udpsink host=127.0.0.1 port=%d sync=false async=false", to)
		switch form {
		case "rtp":
			return peer.GStreamer(ctx, in, "rtph264pay config-interval=-1 aggregate-mode=zero-latency mtu=1360 ! "+sink), nil
		case "srt":
			sink = fmt.Sprintf("srtsink uri=%s latency=%d sync=false async=false", url, ms)
		}
		return peer.GStreamer(ctx, in, "mpegtsmux alignment=7 ! "+sink), nil
	}
	return nil, fmt.Errorf("%q is no sender: lenscast, ffmpeg or gstreamer", sender)
}

// lenscastURL is where lenscast is told to push to.
func lenscastURL(form string, to int, latency time.Duration) string {
	url := fmt.Sprintf("%s://127.0.0.1:%d", form, to)
	if form == "srt" {
		url += fmt.Sprintf("?latency=%d", latency.Milliseconds())
	}
	return url
}

// liveSender makes the command that runs the test camera, and listens for what
// it tells the judge.
func (b *bench) liveSender(ctx context.Context, form string, port, to int, latency time.Duration, j *judge) (*exec.Cmd, error) {
	tapped, err := peer.FreePort()
	if err != nil {
		return nil, err
	}
	c, err := listen(ctx, tapped)
	if err != nil {
		return nil, err
	}
	go receiveTS(c, j.camera.(*tap).picture)
	return peer.LenscastLive(ctx, b.lenscast, port, fps, gop, lenscastURL(form, to, latency), fmt.Sprintf("udp://127.0.0.1:%d", tapped))
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
