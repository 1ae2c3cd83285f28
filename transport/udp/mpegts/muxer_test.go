package mpegts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/transport/udp/internal/clip"
)

// tsPacket is what the tests read from a transport packet.
type tsPacket struct {
	pid           int
	start         bool
	counter       int
	payload       []byte
	pcr           int64 // 27 MHz, -1 without
	discontinuity bool
	random        bool
}

// parse reads packets strictly by ISO/IEC 13818-1 section 2.4.3.
func parse(t *testing.T, stream []byte) []tsPacket {
	t.Helper()
	if len(stream)%PacketSize != 0 {
		t.Fatalf("%d bytes are no whole number of packets", len(stream))
	}
	var out []tsPacket
	for i := 0; i < len(stream); i += PacketSize {
		b := stream[i : i+PacketSize]
		if b[0] != 0x47 || b[1]&0x80 != 0 || b[3]&0xc0 != 0 {
			t.Fatalf("packet %d: header % x", i/PacketSize, b[:4])
		}
		p := tsPacket{pid: int(b[1]&0x1f)<<8 | int(b[2]), start: b[1]&0x40 != 0, counter: int(b[3] & 0x0f), pcr: -1}
		rest := b[4:]
		if b[3]&0x20 != 0 {
			n := int(rest[0])
			if n > 183 || b[3]&0x10 == 0 && n != 183 {
				t.Fatalf("packet %d: adaptation field of %d bytes", i/PacketSize, n)
			}
			field := rest[1 : 1+n]
			rest = rest[1+n:]
			if n > 0 {
				p.discontinuity, p.random = field[0]&0x80 != 0, field[0]&0x40 != 0
				filler := field[1:]
				if field[0]&0x10 != 0 {
					base := int64(field[1])<<25 | int64(field[2])<<17 | int64(field[3])<<9 | int64(field[4])<<1 | int64(field[5]>>7)
					p.pcr = base*300 + (int64(field[5]&1)<<8 | int64(field[6]))
					filler = field[7:]
				}
				if len(bytes.Trim(filler, "\xff")) > 0 {
					t.Fatalf("packet %d: stuffing % x", i/PacketSize, filler)
				}
			}
		}
		if b[3]&0x10 != 0 {
			p.payload = rest
		}
		out = append(out, p)
	}
	return out
}

// checkCounters asserts that the continuity counters count the packets with
// payload of each PID.
func checkCounters(t *testing.T, packets []tsPacket) {
	t.Helper()
	last := map[int]int{}
	for i, p := range packets {
		want, seen := last[p.pid]
		if p.payload != nil {
			want = (want + 1) & 15
		}
		if seen && p.counter != want {
			t.Fatalf("packet %d of PID %#x: continuity counter %d, want %d", i, p.pid, p.counter, want)
		}
		last[p.pid] = p.counter
	}
}

func unit(size int, key bool, pts time.Duration) *h264.AccessUnit {
	aus := clip.Synthetic(2, 1, 2, size, size)
	au := aus[1]
	if key {
		au = aus[0]
	}
	au.PTS = pts
	return au
}

func TestEverySizeFillsItsLastPacket(t *testing.T) {
	for size := 1; size < 3*PacketSize; size++ {
		m := NewMuxer()
		au := unit(size, false, 0)
		packets := parse(t, m.AppendPicture(nil, au, 0))
		var pes []byte
		for _, p := range packets[2:] {
			pes = append(pes, p.payload...)
		}
		want := append([]byte(delimiter+startCode), au.NALUs[0]...)
		if got := pes[pesHeaderSize:]; !bytes.Equal(got, want) {
			t.Fatalf("size %d: payload of %d bytes, want %d", size, len(got), len(want))
		}
	}
}

func TestTablesPrecedeEveryKeyframe(t *testing.T) {
	m := NewMuxer()
	var stream []byte
	for _, au := range clip.Synthetic(300, 30, 90, 2000, 9000) {
		stream = m.AppendPicture(stream, au, au.PTS)
	}
	packets := parse(t, stream)
	checkCounters(t, packets)
	keys, tables := 0, 0
	for i, p := range packets {
		if p.pid == pidPAT {
			tables++
		}
		if !p.random {
			continue
		}
		keys++
		if p.pcr < 0 || !p.start {
			t.Errorf("keyframe %d begins without clock", keys)
		}
		if packets[i-2].pid != pidPAT || packets[i-1].pid != pidPMT {
			t.Errorf("keyframe %d follows PIDs %#x and %#x, want the tables", keys, packets[i-2].pid, packets[i-1].pid)
		}
	}
	// 10 s: every 3 s an IDR, and tables at least every 500 ms.
	if keys != 4 || tables < 19 || tables > 25 {
		t.Errorf("%d keyframes and %d tables", keys, tables)
	}
}

// TestClock runs a sender's schedule at many frame rates: the clock must come
// often enough, never go back and stay ahead of no presentation time.
func TestClock(t *testing.T) {
	for _, fps := range []float64{0.5, 1, 5, 9, 10, 24, 25, 29.97, 30, 50, 60, 120} {
		t.Run(fmt.Sprint(fps), func(t *testing.T) {
			m := NewMuxer()
			var stream []byte
			var last time.Duration // when the clock was sent
			frame := time.Duration(float64(time.Second) / fps)
			for i := range int(5*fps) + 3 {
				now := time.Duration(i) * frame
				for i > 0 && now-last > MaxPCRInterval {
					stream = m.AppendPCR(stream, MaxPCRInterval)
					last += MaxPCRInterval
				}
				stream = m.AppendPicture(stream, unit(5000, i%10 == 0, now), now)
				last = now
			}
			packets := parse(t, stream)
			checkCounters(t, packets)
			pcr := int64(-1)
			for _, p := range packets {
				if p.pcr < 0 {
					continue
				}
				if gap := p.pcr - pcr; pcr >= 0 && (gap <= 0 || gap > 27e6*MaxPCRInterval.Milliseconds()/1000+300) {
					t.Fatalf("clock goes from %d to %d", pcr, p.pcr)
				}
				pcr = p.pcr
				if !p.start {
					continue
				}
				if lead := float64(readPTS(p.payload[9:]))/90e3 - float64(pcr)/27e6; math.Abs(lead-Delay.Seconds()) > 0.001 {
					t.Fatalf("presentation %.4f s after the clock, want %v", lead, Delay)
				}
			}
		})
	}
}

func readPTS(b []byte) int64 {
	return int64(b[0]>>1&7)<<30 | int64(b[1])<<22 | int64(b[2]>>1)<<15 | int64(b[3])<<7 | int64(b[4]>>1)
}

func TestLeapOfTimeIsMarked(t *testing.T) {
	for name, pts := range map[string]time.Duration{"back": time.Second, "far ahead": time.Hour} {
		m := NewMuxer()
		stream := m.AppendPicture(nil, unit(100, true, 0), 10*time.Second)
		n := len(stream)
		stream = m.AppendPicture(stream, unit(100, true, 0), pts)
		packets := parse(t, stream)
		checkCounters(t, packets)
		first, second := packets[2], packets[n/PacketSize+2]
		if first.discontinuity || !second.discontinuity {
			t.Errorf("%s: discontinuity %v, then %v", name, first.discontinuity, second.discontinuity)
		}
	}
}

func TestClockWraps(t *testing.T) {
	m := NewMuxer()
	wrap := time.Duration(1<<33) * time.Second / 90_000
	var stream []byte
	for pts := time.Duration(0); pts < wrap+20*time.Second; pts += 9 * time.Second {
		stream = m.AppendPicture(stream[:0], unit(10, true, pts), pts)
		for _, p := range parse(t, stream) {
			if p.discontinuity {
				t.Fatalf("discontinuity at %v", pts)
			}
		}
	}
}

// TestFFmpegSeesTheSamePictures has ffmpeg decode the stream and the original.
func TestFFmpegSeesTheSamePictures(t *testing.T) {
	clip.NeedTool(t, "ffprobe")
	for _, fps := range []int{5, 30, 60} {
		t.Run(fmt.Sprint(fps), func(t *testing.T) {
			aus := clip.Encode(t, clip.Params{Size: "320x180", FPS: fps, Frames: 2 * fps, GOP: fps, Bitrate: 400_000})
			m := NewMuxer()
			var ts, annexB []byte
			for i, au := range aus {
				if i > 0 {
					for n := 1; n <= 1000/fps/40; n++ {
						ts = m.AppendPCR(ts, 40*time.Millisecond)
					}
				}
				ts = m.AppendPicture(ts, au, au.PTS)
				for _, nalu := range au.NALUs {
					annexB = append(append(annexB, startCode...), nalu...)
				}
			}
			if diff := cmp.Diff(frameSums(t, "annexb.h264", annexB), frameSums(t, "muxed.ts", ts)); diff != "" {
				t.Errorf("decoded pictures differ (-original +muxed):\n%s", diff)
			}
			keys, last := 0, -1.0
			for i, p := range probe(t, ts) {
				if p.PTS-last < 0.9/float64(fps) && i > 0 {
					t.Errorf("picture %d comes %.4f s after the one before", i, p.PTS-last)
				}
				last = p.PTS
				if strings.HasPrefix(p.Flags, "K") {
					keys++
				}
			}
			if keys != 2 {
				t.Errorf("ffprobe sees %d keyframes, want 2", keys)
			}
		})
	}
}

func frameSums(t *testing.T, name string, data []byte) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	// Everything ffmpeg says at level "warning" is a fault of the stream.
	cmd := exec.Command("ffmpeg", "-v", "warning", "-i", path, "-fps_mode", "passthrough", "-f", "framemd5", "-")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("decode %s: %v: %s", name, err, stderr.Bytes())
	}
	if strings.HasSuffix(name, ".ts") && stderr.Len() > 0 {
		t.Errorf("ffmpeg complains of %s: %s", name, stderr.Bytes())
	}
	var sums []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(strings.TrimSpace(line), ","); len(f) == 6 {
			sums = append(sums, strings.TrimSpace(f[5]))
		}
	}
	return sums
}

type probedPacket struct {
	PTS   float64 `json:"pts_time,string"`
	Flags string
}

func probe(t *testing.T, ts []byte) []probedPacket {
	t.Helper()
	cmd := exec.Command("ffprobe", "-v", "error", "-show_packets", "-of", "json", "-f", "mpegts", "-")
	cmd.Stdin = bytes.NewReader(ts)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var result struct{ Packets []probedPacket }
	if err := json.Unmarshal(out, &result); err != nil {
		t.Fatal(err)
	}
	return result.Packets
}

func TestMuxerAllocatesNothing(t *testing.T) {
	aus := clip.Synthetic(60, 60, 30, 16_000, 80_000)
	m := NewMuxer()
	buf := make([]byte, 0, 1<<18)
	i := 0
	if n := testing.AllocsPerRun(600, func() {
		au := aus[i%len(aus)]
		buf = m.AppendPicture(buf[:0], au, time.Duration(i)*time.Second/60)
		buf = m.AppendPCR(buf[:0], time.Millisecond)
		i++
	}); n != 0 {
		t.Errorf("%v allocations per picture", n)
	}
}

// BenchmarkMuxer muxes 8 Mbit/s at 60 fps.
func BenchmarkMuxer(b *testing.B) {
	aus := clip.Synthetic(60, 60, 60, 16_000, 80_000)
	m := NewMuxer()
	buf := make([]byte, 0, 1<<18)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		buf = m.AppendPicture(buf[:0], aus[i%len(aus)], time.Duration(i)*time.Second/60)
	}
}
