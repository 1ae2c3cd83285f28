package webrtc_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lenscast/lenscast/agent/push"
	"github.com/lenscast/lenscast/transport/webrtc/whiptest"
)

// serverAddress makes TestWHIPServerProcess a server there.
const serverAddress = "LENSCAST_TEST_WHIP_ADDRESS"

// TestWHIPServerProcess is the server of serverProcess. It writes a line for
// every picture: its session, whether it is an IDR,
// its RTP timestamp, and when it came.
func TestWHIPServerProcess(t *testing.T) {
	address := os.Getenv(serverAddress)
	if address == "" {
		t.Skip("runs as a process of other tests only")
	}
	server := whiptest.New(whiptest.Rules{}, t.Logf)
	out := bufio.NewWriter(os.Stdout)
	server.OnPicture(func(p whiptest.Picture) {
		fmt.Fprintf(out, "picture %d %t %d %d\n", p.Session, p.Key, p.Timestamp, p.At.UnixNano())
		_ = out.Flush()
	})
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(out, "listening %d\n", time.Now().UnixNano())
	_ = out.Flush()
	t.Fatal(http.Serve(listener, server))
}

// serverProcess is a WHIP server that can be killed and stopped.
type serverProcess struct {
	cmd       *exec.Cmd
	listening chan time.Time

	mu       sync.Mutex
	pictures []whiptest.Picture
}

// startProcess starts one. wrap is put before its command.
func startProcess(t *testing.T, address string, wrap ...string) *serverProcess {
	t.Helper()
	args := append(wrap, os.Args[0], "-test.run=^TestWHIPServerProcess$", "-test.timeout=10m")
	p := &serverProcess{cmd: exec.Command(args[0], args[1:]...), listening: make(chan time.Time, 1)}
	p.cmd.Env = append(os.Environ(), serverAddress+"="+address)
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.line(lines.Text())
		}
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-read
		_ = p.cmd.Wait()
	})
	return p
}

func (p *serverProcess) line(line string) {
	var at int64
	var pic whiptest.Picture
	if n, _ := fmt.Sscanf(line, "listening %d", &at); n == 1 {
		p.listening <- time.Unix(0, at)
	}
	if n, _ := fmt.Sscanf(line, "picture %d %t %d %d", &pic.Session, &pic.Key, &pic.Timestamp, &at); n == 4 {
		pic.At = time.Unix(0, at)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.pictures = append(p.pictures, pic)
	}
}

// await waits for the first picture that fits.
func (p *serverProcess) await(t *testing.T, fits func(whiptest.Picture) bool) (pic whiptest.Picture) {
	t.Helper()
	waitFor(t, "a picture", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		i := slices.IndexFunc(p.pictures, fits)
		if i >= 0 {
			pic = p.pictures[i]
		}
		return i >= 0
	})
	return pic
}

// last returns the newest picture; there has to be one.
func (p *serverProcess) last() whiptest.Picture {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pictures[len(p.pictures)-1]
}

func anyPicture(whiptest.Picture) bool { return true }

// startPush pushes for ever, as the agent does, and returns the push.
func startPush(t *testing.T, url string) *push.Push {
	t.Helper()
	cam := newCamera()
	cam.onKey = func() {}
	runCamera(t, cam, 5000, 60000, 300)
	pusher := newPusher(t, cam, url, "", nil)
	p := push.New(push.Params{
		Camera: "cam", Destination: url, Pusher: pusher, MaxPause: 500 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return p
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// slack is what a busy machine may add to what recovery takes, under the race
// detector too. Without it, all of it would take longer: ICE gives up after
// 15 s, and TCP after minutes.
const slack = 10 * time.Second

// A server that is killed is noticed in 3 s; when it is back, so is the
// picture, in a second, beginning with an IDR.
func TestPushServerKilled(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	first := startProcess(t, address)
	p := startPush(t, "whip://"+address+"/whip")
	first.await(t, anyPicture)
	failures := p.Status().Failures // of before it listened
	killed := time.Now()
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the push to notice", func() bool {
		st := p.Status()
		return st.Failures > failures || st.State == push.Interrupted
	})
	noticed := time.Since(killed)
	waitFor(t, "3 s", func() bool { return time.Since(killed) > 3*time.Second })
	second := startProcess(t, address)
	open := <-second.listening
	pic := second.await(t, anyPicture)
	back := pic.At.Sub(open)
	t.Logf("noticed after %v, the first picture came %v after the port was open", noticed, back)
	if noticed > 3*time.Second+slack || back > time.Second+slack || !pic.Key {
		t.Errorf("noticed after %v, picture after %v, IDR: %t", noticed, back, pic.Key)
	}
}

// The same with one that is frozen, and thawed.
func TestPushServerFrozen(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	server := startProcess(t, address)
	p := startPush(t, "whip://"+address+"/whip")
	server.await(t, anyPicture)
	before, frozen := server.last(), time.Now()
	if err := server.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the push to notice", func() bool { return p.Status().State == push.Interrupted })
	noticed := time.Since(frozen)
	waitFor(t, "6 s", func() bool { return time.Since(frozen) > 6*time.Second })
	thawed := time.Now()
	if err := server.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	// What waited in its buffers comes first, and is older.
	pic := server.await(t, func(p whiptest.Picture) bool {
		return p.Session != before.Session || int32(p.Timestamp-before.Timestamp) > 4*90000
	})
	back := pic.At.Sub(thawed)
	t.Logf("noticed after %v, the first picture came %v after it went on", noticed, back)
	if noticed > 3*time.Second+slack || back > time.Second+slack || !pic.Key {
		t.Errorf("noticed after %v, picture after %v, IDR: %t", noticed, back, pic.Key)
	}
}
