package udp

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/transport/udp/internal/clip"
)

const (
	judgeFPS = 30

	// judgedFrames is how many pictures the foreign receivers are to decode.
	judgedFrames = 45
)

func judgeClip(t *testing.T) []*h264.AccessUnit {
	return clip.Encode(t, clip.Params{Size: "640x360", FPS: judgeFPS, Frames: 2 * judgeFPS, GOP: judgeFPS, Bitrate: 1_000_000})
}

// ffmpegDecodes has ffmpeg decode an input without a fault.
func ffmpegDecodes(t *testing.T, input ...string) {
	t.Helper()
	args := append([]string{"-v", "warning", "-nostats", "-progress", "pipe:1", "-analyzeduration", "300000"}, input...)
	args = append(args, "-frames:v", strconv.Itoa(judgedFrames), "-fps_mode", "passthrough", "-f", "null", "-")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ffmpeg", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, stderr.Bytes())
	}
	frames := 0
	for line := range strings.Lines(string(out)) {
		if n, ok := strings.CutPrefix(line, "frame="); ok {
			frames, _ = strconv.Atoi(strings.TrimSpace(n))
		}
	}
	if frames != judgedFrames {
		t.Errorf("ffmpeg decoded %d pictures, want %d", frames, judgedFrames)
	}
	for _, fault := range []string{"corrupt", "rror while decoding", "missed", "concealing", "discontinu", "non-existing"} {
		if strings.Contains(stderr.String(), fault) {
			t.Errorf("ffmpeg complains: %s", stderr.Bytes())
			break
		}
	}
}

// TestFootageIsReceived has all of them receive what a GoPro has filmed.
func TestFootageIsReceived(t *testing.T) {
	media := os.Getenv("LENSCAST_MEDIA")
	if media == "" {
		t.Skip("LENSCAST_MEDIA does not name a folder of media")
	}
	pictures := newCamera(clip.Footage(t, filepath.Join(media, "gopro-max-heromode.mp4")))
	t.Run("ffmpeg", func(t *testing.T) {
		ffmpegReceivesTS(t, pictures)
		ffmpegReceivesRTP(t, pictures)
		ffmpegReceivesSRT(t, pictures)
	})
	t.Run("gstreamer", func(t *testing.T) { gstreamerReceives(t, pictures) })
	t.Run("vlc", func(t *testing.T) { vlcReceives(t, pictures) })
}

func TestFFmpegReceivesTS(t *testing.T)  { ffmpegReceivesTS(t, newCamera(judgeClip(t))) }
func TestFFmpegReceivesRTP(t *testing.T) { ffmpegReceivesRTP(t, newCamera(judgeClip(t))) }
func TestFFmpegReceivesSRT(t *testing.T) { ffmpegReceivesSRT(t, newCamera(judgeClip(t))) }

func ffmpegReceivesTS(t *testing.T, pictures *camera) {
	t.Helper()
	port := freePort(t)
	start(t, newPusher(t, fmt.Sprintf("udp://127.0.0.1:%d", port), pictures))
	ffmpegDecodes(t, "-f", "mpegts", "-i", fmt.Sprintf("udp://127.0.0.1:%d?timeout=10000000", port))
}

func ffmpegReceivesRTP(t *testing.T, pictures *camera) {
	t.Helper()
	port := freePort(t)
	sdp := filepath.Join(t.TempDir(), "camera.sdp")
	p := newPusher(t, fmt.Sprintf("rtp://127.0.0.1:%d?sdp=%s", port, sdp), pictures)
	start(t, p)
	until(t, "session description written", func() bool {
		_, err := os.Stat(sdp)
		return err == nil
	})
	ffmpegDecodes(t, "-protocol_whitelist", "file,udp,rtp", "-i", sdp)
}

func ffmpegReceivesSRT(t *testing.T, pictures *camera) {
	t.Helper()
	for _, options := range []string{"", "&passphrase=correct-horse-battery&pbkeylen=32&streamid=hero"} {
		port := freePort(t)
		p := newPusher(t, fmt.Sprintf("srt://127.0.0.1:%d?latency=100ms%s", port, options), pictures)
		start(t, p)
		ffmpegDecodes(t, "-f", "mpegts", "-i", fmt.Sprintf("srt://127.0.0.1:%d?mode=listener%s", port, options))
	}
}

func TestFFmpegCallsSRT(t *testing.T) {
	port := freePort(t)
	p := newPusher(t, fmt.Sprintf("srt://127.0.0.1:%d?mode=listener&passphrase=correct-horse-battery", port), newCamera(judgeClip(t)))
	start(t, p)
	ffmpegDecodes(t, "-f", "mpegts", "-i", fmt.Sprintf("srt://127.0.0.1:%d?passphrase=correct-horse-battery", port))
}

// TestShellSubscribes subscribes to the UDP server with nothing but bash, as
// the README says, and pipes what comes into ffmpeg.
func TestShellSubscribes(t *testing.T) {
	clip.NeedTool(t, "bash")
	port := freePort(t)
	start(t, newPusher(t, fmt.Sprintf("udp-server://127.0.0.1:%d?token=correct-horse-battery", port), newCamera(judgeClip(t))))
	script := filepath.Join(t.TempDir(), "subscribe.sh")
	line := fmt.Sprintf(`exec 3<>/dev/udp/127.0.0.1/%d
echo subscribe correct-horse-battery >&3; c=$(head -n1 <&3)
while echo "$c" >&3; do sleep 3; done & trap "kill $!" EXIT
cat <&3
`, port)
	if err := os.WriteFile(script, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("bash", script)
	stream, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = shell.Process.Kill()
		_ = shell.Wait()
	}()
	path := filepath.Join(t.TempDir(), "stream.ts")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		n, err := stream.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(buf[:n]); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	ffmpegDecodes(t, "-f", "mpegts", "-i", path)
}

// gstreamerDecodes has GStreamer decode what a source element gives.
func gstreamerDecodes(t *testing.T, source string) {
	t.Helper()
	pipeline := source + fmt.Sprintf(" ! h264parse ! decodebin ! fakesink num-buffers=%d sync=false", judgedFrames)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "gst-launch-1.0", append([]string{"-q"}, strings.Fields(pipeline)...)...).CombinedOutput()
	if err != nil {
		t.Errorf("gst-launch-1.0 %s: %v: %s", pipeline, err, out)
	}
}

func TestGStreamerReceives(t *testing.T) {
	gstreamerReceives(t, newCamera(judgeClip(t)))
}

// gstreamerReceives has GStreamer receive a camera in each form.
func gstreamerReceives(t *testing.T, pictures *camera) {
	t.Helper()
	clip.NeedTool(t, "gst-launch-1.0")
	for _, tt := range []struct{ push, source string }{
		{"udp://127.0.0.1:%d", "udpsrc port=%d ! tsdemux"},
		{"udp://239.255.77.7:%d?interface=lo", "udpsrc address=239.255.77.7 multicast-iface=lo port=%d ! tsdemux"},
		{"rtp://127.0.0.1:%d", "udpsrc port=%d caps=application/x-rtp,media=video,clock-rate=90000,encoding-name=H264,payload=96 ! rtpjitterbuffer ! rtph264depay"},
		{"srt://127.0.0.1:%d?passphrase=correct-horse-battery", "srtsrc uri=srt://:%d?mode=listener passphrase=correct-horse-battery pbkeylen=16 ! tsdemux"},
	} {
		port := freePort(t)
		start(t, newPusher(t, fmt.Sprintf(tt.push, port), pictures))
		gstreamerDecodes(t, fmt.Sprintf(tt.source, port))
	}
}

func TestVLCReceives(t *testing.T) { vlcReceives(t, newCamera(judgeClip(t))) }

// vlcReceives has VLC receive, demultiplex and write a stream, and ffmpeg
// decode what VLC wrote. VLC in Debian has neither SRT nor RTP.
func vlcReceives(t *testing.T, pictures *camera) {
	t.Helper()
	clip.NeedTool(t, "cvlc")
	port := freePort(t)
	start(t, newPusher(t, fmt.Sprintf("udp://127.0.0.1:%d", port), pictures))
	dir, err := os.MkdirTemp("", "vlc") // not t.TempDir, into which only its owner gets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "vlc.ts")
	args := []string{
		"cvlc", "--quiet", "--run-time=4", "--sout", "#std{access=file,mux=ts,dst=" + path + "}",
		fmt.Sprintf("udp://@127.0.0.1:%d", port), "vlc://quit",
	}
	if os.Geteuid() == 0 { // VLC refuses to run as root
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"runuser", "-u", "nobody", "--"}, args...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("vlc: %v: %s", err, out)
	}
	ffmpegDecodes(t, "-f", "mpegts", "-i", path)
}
