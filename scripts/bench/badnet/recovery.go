package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/lenscast/lenscast/scripts/bench/internal/peer"
)

const (
	// steady is how long a push works before its receiver fails, and away
	// how long that is gone.
	steady = 7 * time.Second
	away   = 3 * time.Second

	// hopeless ends the wait for what should have happened.
	hopeless = 15 * time.Second
)

// recoveries has the receivers of lenscast fail and come back, and prints when
// lenscast noticed, and how long after the receiver was back the first keyframe
// came. A receiver of plain UDP that is frozen, or a client that vanishes, can't
// be noticed but by its silence.
func (b *bench) recoveries(ctx context.Context, out io.Writer) error {
	fmt.Fprintln(out, "| form | receiver | noticed after s | keyframe after s |")
	fmt.Fprintln(out, "|---|---|--:|--:|")
	for _, form := range []string{"rtp", "udp", "srt", "srt listener", "udp-server"} {
		for _, fault := range []string{"killed", "frozen"} {
			noticed, back, err := b.recovery(ctx, form, fault == "frozen")
			if err != nil {
				return fmt.Errorf("%s %s: %w", form, fault, err)
			}
			fmt.Fprintf(out, "| %s | %s | %s | %s |\n", form, fault, seconds(noticed), seconds(back))
		}
	}
	return nil
}

// seconds writes a time, and a dash for what never happened.
func seconds(d time.Duration) string {
	if d < 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", d.Seconds())
}

// recovery lets a receiver fail. The times are negative for what has not
// happened; a failure that was not noticed while it lasted never is.
func (b *bench) recovery(ctx context.Context, form string, frozen bool) (noticed, back time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	port, err := peer.FreePort()
	if err != nil {
		return 0, 0, err
	}
	inner, err := peer.FreePort()
	if err != nil {
		return 0, 0, err
	}
	in, err := peer.FreePort()
	if err != nil {
		return 0, 0, err
	}
	j := newJudge(b.source)
	c, err := listen(ctx, inner)
	if err != nil {
		return 0, 0, err
	}
	if form == "rtp" {
		go receiveRTP(c, j, 120*time.Millisecond)
	} else {
		go receiveTS(c, j)
	}
	url, source := receiverOf(form, port)
	agent, err := peer.Lenscast(ctx, b.lenscast, in, url)
	if err != nil {
		return 0, 0, err
	}
	receiver := func() *exec.Cmd {
		if form == "udp-server" {
			return exec.CommandContext(ctx, os.Args[0], "-subscribe", fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d", port, inner))
		}
		pipeline := fmt.Sprintf("%s ! udpsink host=127.0.0.1 port=%d sync=false async=false", source, inner)
		return exec.CommandContext(ctx, "gst-launch-1.0", append([]string{"-q"}, strings.Fields(pipeline)...)...)
	}
	first := receiver()
	for _, cmd := range []*exec.Cmd{agent, first} {
		if err := cmd.Start(); err != nil {
			return 0, 0, err
		}
		defer func() {
			cancel()
			_ = cmd.Wait()
		}()
	}
	played := make(chan error, 1)
	go func() { played <- b.source.play(ctx, in) }()
	if took := until(ctx, time.Now(), hopeless, func() bool { return j.count() > 0 }); took < 0 {
		return 0, 0, fmt.Errorf("nothing arrived in %v", hopeless)
	}
	if err := sleep(ctx, steady); err != nil {
		return 0, 0, err
	}

	second := receiver() // takes the place of a killed one
	defer func() {
		cancel()
		_ = second.Wait()
	}()
	fault, resume := syscall.SIGKILL, second.Start
	if frozen {
		fault, resume = syscall.SIGSTOP, func() error { return first.Process.Signal(syscall.SIGCONT) }
	}
	failed := time.Now()
	if err := first.Process.Signal(fault); err != nil {
		return 0, 0, err
	}
	noticed = until(ctx, failed, away, func() bool { return !sending(ctx, in) })
	if err := sleep(ctx, time.Until(failed.Add(away))); err != nil {
		return 0, 0, err
	}
	if err := resume(); err != nil {
		return 0, 0, err
	}
	if !frozen && form != "srt listener" && form != "udp-server" {
		until(ctx, time.Now(), hopeless, func() bool { return bound(port) })
	}
	j.forget()
	back = until(ctx, time.Now(), hopeless, func() bool { return j.keys() > 0 })
	cancel()
	return noticed, back, <-played
}

// receiverOf returns the URL of a push to a port, and the elements of a
// pipeline that receive it.
func receiverOf(form string, port int) (url, source string) {
	switch form {
	case "srt":
		return fmt.Sprintf("srt://127.0.0.1:%d", port), fmt.Sprintf("srtsrc uri=srt://127.0.0.1:%d?mode=listener latency=120 keep-listening=true", port)
	case "srt listener":
		return fmt.Sprintf("srt://127.0.0.1:%d?mode=listener", port), fmt.Sprintf("srtsrc uri=srt://127.0.0.1:%d?mode=caller latency=120", port)
	case "udp-server":
		return fmt.Sprintf("udp-server://127.0.0.1:%d", port), ""
	}
	return fmt.Sprintf("%s://127.0.0.1:%d", form, port), fmt.Sprintf("udpsrc address=127.0.0.1 port=%d buffer-size=4000000", port)
}

// until waits for a condition and returns how long after from it came true,
// negative if it did not within the limit.
func until(ctx context.Context, from time.Time, limit time.Duration, condition func() bool) time.Duration {
	for ctx.Err() == nil && time.Since(from) < limit {
		if condition() {
			return time.Since(from)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return -1
}

// sending asks lenscast whether its push goes well.
func sending(ctx context.Context, port int) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://localhost:%d/api/status", port), nil)
	if err != nil {
		return true
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return true // it is not known that it does not
	}
	defer resp.Body.Close()
	var report struct{ Pushes []struct{ State string } }
	err = json.NewDecoder(resp.Body).Decode(&report)
	return err != nil || len(report.Pushes) == 1 && report.Pushes[0].State == "sending"
}

// bound tells whether some socket has a UDP port (/proc/net/udp, proc(5)).
func bound(port int) bool {
	table, err := os.ReadFile("/proc/net/udp")
	return err != nil || bytes.Contains(table, fmt.Appendf(nil, ":%04X 00000000:0000", port))
}

// subscribe asks a UDP server for its stream, and passes that on, until it
// fails (see transport/udp/README.md). addresses are those of the server and
// of who gets the stream.
func subscribe(addresses string) error {
	server, to, _ := strings.Cut(addresses, ",")
	in, err := net.Dial("udp", server)
	if err != nil {
		return err
	}
	out, err := net.Dial("udp", to)
	if err != nil {
		return err
	}
	buf := make([]byte, 2048)
	cookie := []byte("subscribe")
	var asked time.Time
	for {
		if time.Since(asked) > time.Second {
			asked = time.Now()
			if _, err := in.Write(cookie); err != nil {
				return err
			}
		}
		if err := in.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		n, err := in.Read(buf)
		switch {
		case err != nil:
			cookie = []byte("subscribe") // it may not be up yet, or not know us any more
			time.Sleep(100 * time.Millisecond)
		case bytes.HasPrefix(buf[:n], []byte("cookie ")):
			cookie, asked = bytes.Clone(buf[:n]), time.Time{}
		default:
			_, _ = out.Write(buf[:n])
		}
	}
}
