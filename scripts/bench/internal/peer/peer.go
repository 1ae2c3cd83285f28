// Package peer starts the senders that the benches of pushes compare: lenscast
// as people run it, ffmpeg and GStreamer. All get the same live input, an MPEG
// transport stream over UDP, and pass its H.264 on as it is.
package peer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Clip says what to encode for senders to pass on.
type Clip struct {
	Source  string // of lavfi, such as testsrc2=size=1280x720
	FPS     int
	Seconds int
	GOP     int      // pictures
	Rate    []string // options of x264 that set the rate, such as -qp 26
}

// Encode writes the clip to path as an MPEG transport stream: one slice a
// picture, as cameras do, and no B-frames.
func Encode(ctx context.Context, path string, c Clip) error {
	args := []string{
		"-v", "error", "-y", "-f", "lavfi", "-i", c.Source, "-r", fmt.Sprint(c.FPS), "-t", fmt.Sprint(c.Seconds),
		"-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0",
		"-x264-params", fmt.Sprintf("aud=1:keyint=%d:min-keyint=%d:scenecut=0:repeat-headers=1:sliced-threads=0:slices=1", c.GOP, c.GOP),
	}
	args = append(append(args, c.Rate...), "-f", "mpegts", path)
	if out, err := exec.CommandContext(ctx, "ffmpeg", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("encode clip: %w: %s", err, out)
	}
	return nil
}

// Build compiles lenscast into dir and returns its path. The module must be
// the working directory.
func Build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "lenscast")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "./agent").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build lenscast: %w: %s", err, out)
	}
	return path, nil
}

// Lenscast runs the program at path with one camera that listens at the UDP
// port in, and pushes to urls. The viewer page is at the TCP port in.
func Lenscast(ctx context.Context, path string, in int, urls ...string) (*exec.Cmd, error) {
	config := fmt.Sprintf("[viewer]\nlisten = \"127.0.0.1:%d\"\n[webrtc]\nlisten = \"127.0.0.1:%d\"\n"+
		"[[camera]]\nname = \"bench\"\nsource = \"mpegts\"\nlisten = \"udp://127.0.0.1:%d\"\n", in, in+1, in)
	for _, url := range urls {
		config += fmt.Sprintf("[[camera.push]]\nurl = %q\n", url)
	}
	file := fmt.Sprintf("%s-%d.toml", path, in)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, path, "run", "-config", file), nil
}

// FFmpeg runs one ffmpeg with an output for every url, in the given format.
func FFmpeg(ctx context.Context, in int, format string, urls ...string) *exec.Cmd {
	args := []string{"-v", "quiet", "-fflags", "nobuffer", "-analyzeduration", "500000", "-f", "mpegts", "-i", input(in)}
	for _, url := range urls {
		args = append(args, "-an", "-c", "copy", "-f", format, url)
	}
	return exec.CommandContext(ctx, "ffmpeg", args...)
}

// GStreamer runs a pipeline from the access units to sink, which may begin
// with a payloader or a muxer.
func GStreamer(ctx context.Context, in int, sink string) *exec.Cmd {
	pipeline := fmt.Sprintf("udpsrc address=127.0.0.1 port=%d buffer-size=4000000 ! tsdemux latency=0 ! h264parse ! %s", in, sink)
	return exec.CommandContext(ctx, "gst-launch-1.0", append([]string{"-q"}, strings.Fields(pipeline)...)...)
}

func input(port int) string {
	return fmt.Sprintf("udp://127.0.0.1:%d?buffer_size=4000000&fifo_size=50000", port)
}

// FreePort returns an even port with a free one above it, as RTP likes it,
// below those that the system gives to others.
func FreePort() (int, error) {
	loopback := net.IPv4(127, 0, 0, 1)
	free := func(port int) bool {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback, Port: port})
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	for range 100 {
		if port := 20_000 + 2*rand.IntN(6000); free(port) && free(port+1) {
			return port, nil
		}
	}
	return 0, errors.New("no two UDP ports in a row are free")
}
