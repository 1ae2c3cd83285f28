package mpegts

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture"
	"github.com/lenscast/lenscast/capture/aac"
	"github.com/lenscast/lenscast/capture/h264"
)

// recorder is a sink that keeps all it gets.
type recorder struct {
	mu      sync.Mutex
	changed chan struct{} // closed at the next change
	opened  []capture.Info
	units   []*h264.AccessUnit
	at      []time.Time // when each unit came
	lost    []string
	trouble []error
	audio   []*aac.Frame
	sounds  []string
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

func (r *recorder) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) Opened(i capture.Info) { r.change(func() { r.opened = append(r.opened, i) }) }
func (r *recorder) Lost(reason string)    { r.change(func() { r.lost = append(r.lost, reason) }) }
func (r *recorder) Trouble(err error)     { r.change(func() { r.trouble = append(r.trouble, err) }) }

func (r *recorder) WriteAudio(f *aac.Frame)   { r.change(func() { r.audio = append(r.audio, f) }) }
func (r *recorder) DescribeAudio(text string) { r.change(func() { r.sounds = append(r.sounds, text) }) }

func (r *recorder) Write(au *h264.AccessUnit) {
	r.change(func() { r.units, r.at = append(r.units, au), append(r.at, time.Now()) })
}

// wait waits until the condition, which may look at the recorder, holds.
func (r *recorder) wait(t testing.TB, what string, condition func() bool) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		ok, changed := condition(), r.changed
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%s: not within 20 s; %d units, lost %q, trouble %v", what, len(r.units), r.lost, r.trouble)
		}
	}
}

// freePort returns a UDP port of loopback that nobody uses.
func freePort(t testing.TB) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	return port
}

// start runs a source until the test ends.
func start(t testing.TB, listen string) *recorder {
	t.Helper()
	s, err := New(Params{Listen: listen})
	if err != nil {
		t.Fatal(err)
	}
	r := newRecorder()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, r) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	r.wait(t, "open", func() bool { return len(r.opened) > 0 })
	return r
}

// ffmpeg runs ffmpeg to its end and returns what it prints.
func ffmpeg(t testing.TB, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	cmd := exec.Command(path, append([]string{"-v", "error", "-nostdin"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg %s: %v: %s", strings.Join(args, " "), err, &stderr)
	}
	return out
}

// film encodes three seconds of a test pattern with sound to a file.
func film(t testing.TB, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "film.mkv")
	ffmpeg(t, append(append([]string{"-f", "lavfi", "-i", "testsrc2=size=320x240:rate=30", "-f", "lavfi", "-i", "sine", "-t", "3"},
		args...), "-c:a", "mp2", file)...)
	return file
}

func x264(args ...string) []string {
	return append([]string{"-threads", "1", "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "30"}, args...)
}

// send sends a file at four times its speed, which no receive buffer is too
// small for.
func send(t testing.TB, file, to string, args ...string) {
	t.Helper()
	ffmpeg(t, slices.Concat([]string{"-readrate", "4", "-i", file, "-map", "0:v:0", "-map", "0:a:0?", "-c", "copy", "-f", "mpegts"}, args, []string{to})...)
}

// pictureNALUs returns what of the NAL units must arrive untouched.
func pictureNALUs(nalus [][]byte) [][]byte {
	return slices.DeleteFunc(nalus, func(nalu []byte) bool {
		t := h264.TypeOf(nalu)
		return t != h264.NALUSlice && t != h264.NALUIDR && t != h264.NALUSEI
	})
}

// TestFFmpegSends lets ffmpeg send files and compares what arrives with what
// ffmpeg itself takes out of them.
func TestFFmpegSends(t *testing.T) {
	tests := []struct {
		name string
		file func(t *testing.T) string
		args []string // of the muxer
	}{
		{name: "baseline", file: func(t *testing.T) string { return film(t, x264("-profile:v", "baseline")...) }},
		{name: "high, all PES lengths said", file: func(t *testing.T) string { return film(t, x264("-bf", "0")...) }, args: []string{"-omit_video_pes_length", "0"}},
		{name: "four slices", file: func(t *testing.T) string { return film(t, x264("-bf", "0", "-slices", "4")...) }},
		{name: "intra-refresh", file: func(t *testing.T) string { return film(t, x264("-bf", "0", "-intra-refresh", "1")...) }},
		{name: "zerolatency, 8 Mbit/s", file: func(t *testing.T) string {
			return film(t, x264("-tune", "zerolatency", "-b:v", "8M", "-minrate", "8M", "-maxrate", "8M", "-bufsize", "1M")...)
		}},
		{name: "M2TS-like PIDs", file: func(t *testing.T) string { return film(t, x264("-bf", "0")...) }, args: []string{"-mpegts_start_pid", "0x1011", "-muxrate", "4M"}},
		{name: "gopro-karma.mp4", file: func(t *testing.T) string { return media(t, "gopro-karma.mp4") }},
		{name: "gopro-max-heromode.mp4", file: func(t *testing.T) string { return media(t, "gopro-max-heromode.mp4") }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := test.file(t)
			out := ffmpeg(t, "-i", file, "-map", "0:v:0", "-c", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "h264", "-")
			all, err := h264.SplitAnnexB(nil, out)
			if err != nil {
				t.Fatal(err)
			}
			want := pictureNALUs(all)

			to := "udp://127.0.0.1:" + freePort(t)
			r := start(t, to)
			send(t, file, to+"?pkt_size=1316", test.args...)
			// If the very last picture happens to fill its packets, its end
			// stays unknown and trouble comes instead.
			r.wait(t, "the last picture", func() bool {
				if len(r.units) == 0 {
					return false
				}
				last := r.units[len(r.units)-1].NALUs
				return bytes.Equal(last[len(last)-1], want[len(want)-1]) || len(r.trouble) > 0
			})
			var got [][]byte
			for _, au := range r.units {
				got = append(got, pictureNALUs(slices.Clone(au.NALUs))...)
			}
			if missing := len(want) - len(got); missing < 0 || missing > len(pictureNALUs(r.units[0].NALUs)) ||
				!slices.EqualFunc(got, want[:len(got)], bytes.Equal) {
				t.Errorf("%d NAL units arrived and are not the %d that were sent", len(got), len(want))
			}
			if len(r.lost) > 0 {
				t.Errorf("lost %q", r.lost)
			}
		})
	}
}

func media(t testing.TB, name string) string {
	t.Helper()
	folder := os.Getenv("LENSCAST_MEDIA")
	if folder == "" {
		t.Skip("LENSCAST_MEDIA does not name a folder of media")
	}
	return filepath.Join(folder, name)
}

func TestFFmpegSendsWhatIsRefused(t *testing.T) {
	tests := []struct {
		name string
		args []string
		text string
	}{
		{"B-frames", x264("-bf", "2"), "turn B-frames off"},
		{"10 bit", x264("-bf", "0", "-pix_fmt", "yuv420p10le"), "10-bit"},
		{"4:4:4", x264("-bf", "0", "-pix_fmt", "yuv444p"), "4:4:4"},
		{"MPEG-2", []string{"-c:v", "mpeg2video"}, "MPEG-2 video and no H.264"},
		{"sound only", []string{"-vn"}, "no video and no H.264"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := film(t, test.args...)
			to := "udp://127.0.0.1:" + freePort(t)
			r := start(t, to)
			ffmpeg(t, "-re", "-i", file, "-c", "copy", "-f", "mpegts", to+"?pkt_size=1316")
			r.wait(t, "trouble", func() bool {
				return slices.ContainsFunc(r.trouble, func(err error) bool {
					return errors.Is(err, capture.ErrUnsupported) && strings.Contains(err.Error(), test.text)
				})
			})
			if n := len(r.units); n > 3 {
				t.Errorf("%d pictures came through", n)
			}
		})
	}
}

// TestSenderComesBack kills a sender and starts another one, of another size.
func TestSenderComesBack(t *testing.T) {
	small := film(t, x264("-bf", "0")...)
	large := film(t, x264("-bf", "0", "-s", "640x480")...)
	to := "udp://127.0.0.1:" + freePort(t)
	r := start(t, to)
	path, _ := exec.LookPath("ffmpeg")
	for i, file := range []string{small, large} {
		before := len(r.units)
		cmd := exec.Command(path, "-v", "quiet", "-nostdin", "-re", "-i", file, "-c", "copy", "-f", "mpegts", to+"?pkt_size=1316")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r.wait(t, "40 pictures of this sender", func() bool { return len(r.units) >= before+40 })
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		r.wait(t, "no signal", func() bool {
			n := len(r.trouble)
			return n > i && errors.Is(r.trouble[n-1], capture.ErrNoSignal)
		})
	}
	var sizes []int
	for i, au := range r.units {
		if i > 0 && au.PTS <= r.units[i-1].PTS {
			t.Errorf("PTS of picture %d is %v after %v", i, au.PTS, r.units[i-1].PTS)
		}
		if sps, _ := au.ParameterSets(); au.Key {
			f, err := h264.ParseFormat(sps[0])
			if err != nil {
				t.Fatal(err)
			}
			if n := len(sizes); n == 0 || sizes[n-1] != f.Width {
				sizes = append(sizes, f.Width)
			}
		}
		if age := r.at[i].Sub(au.Captured); age < -time.Second || age > time.Second {
			t.Errorf("picture %d came %v after it was captured", i, age)
		}
	}
	if !slices.Equal(sizes, []int{320, 640}) {
		t.Errorf("widths %v came, want 320 and 640", sizes)
	}
}

// TestHandedOverEarly counts the pictures that wait for the beginning of the
// next one, because they just fill their packets or the muxer is not proven.
func TestHandedOverEarly(t *testing.T) {
	for name, file := range map[string]func(t *testing.T) string{
		"x264":                   func(t *testing.T) string { return film(t, x264("-bf", "0")...) },
		"gopro-karma.mp4":        func(t *testing.T) string { return media(t, "gopro-karma.mp4") },
		"gopro-max-heromode.mp4": func(t *testing.T) string { return media(t, "gopro-max-heromode.mp4") },
	} {
		t.Run(name, func(t *testing.T) {
			stream := ffmpeg(t, "-i", file(t), "-map", "0:v:0", "-map", "0:a:0", "-c", "copy", "-f", "mpegts", "-")
			d := demux()
			begun, late := 0, 0
			for b := range slices.Chunk(stream, packetSize) {
				if p, err := parsePacket(b); err == nil && p.pid == d.video && p.start {
					if begun++; len(d.units) < begun-1 {
						late++
					}
				}
				d.feed(b)
			}
			t.Logf("%d of %d pictures waited for the next", late, begun)
			if most := provenUnits + begun/50; late > most {
				t.Errorf("%d of %d pictures waited for the next, want at most %d", late, begun, most)
			}
		})
	}
}
