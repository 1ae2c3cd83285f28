package mpegts

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture/aac"
	"github.com/lenscast/lenscast/capture/h264"
)

const testAudio = 0x1100

// adts makes frames of 48 kHz stereo, each of another size.
func adts(n int) (frames [][]byte) {
	chance := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		size := 7 + 100 + i*37%400
		f := make([]byte, size)
		for k := range f {
			f[k] = byte(chance.Uint32())
		}
		copy(f, []byte{0xff, 0xf1, 0x4c, 0x80 | byte(size>>11), byte(size >> 3), byte(size<<5) | 0x1f, 0xfc})
		frames = append(frames, f)
	}
	return frames
}

// heard is what an audioBuilder made of packets.
type heard struct {
	audioBuilder
	frames  [][]byte
	times   []time.Duration // by the sender's clock
	refused []string
}

func hear() *heard {
	h := &heard{}
	h.emit = func(s sound) {
		h.frames = append(h.frames, s.frame.Data)
		h.times = append(h.times, fromTicks(int64(s.pts))+s.since)
	}
	h.refuse = func(reason string) { h.refused = append(h.refused, reason) }
	return h
}

func (h *heard) feed(stream []byte) {
	for b := range slices.Chunk(stream, packetSize) {
		if p, err := parsePacket(b); err == nil {
			h.add(p)
		}
	}
}

// TestSoundInManyManners packs frames as muxers do. Each must come out as soon
// as it is there, with its own time.
func TestSoundInManyManners(t *testing.T) {
	frames := adts(60)
	stream := bytes.Join(frames, nil)
	begins := make([]int, len(frames)) // offset in the stream
	for i := range frames[1:] {
		begins[i+1] = begins[i] + len(frames[i])
	}
	// at returns the PTS for a PES packet that begins at an offset.
	at := func(offset int) uint64 {
		i, _ := slices.BinarySearch(begins, offset)
		return 90000 + uint64(i)*1920
	}
	for name, pack := range map[string]func(m *muxer){
		"a frame to a PES packet": func(m *muxer) {
			for i, f := range frames {
				m.picture(testAudio, at(begins[i]), f)
			}
		},
		"five frames to a PES packet": func(m *muxer) {
			for i := 0; i < len(frames); i += 5 {
				m.picture(testAudio, at(begins[i]), bytes.Join(frames[i:i+5], nil))
			}
		},
		"frames over the ends of PES packets": func(m *muxer) {
			for offset := 0; offset < len(stream); offset += 777 {
				m.picture(testAudio, at(offset), stream[offset:min(offset+777, len(stream))])
			}
		},
		"two PES packets to a frame": func(m *muxer) {
			m.split = 90
			for i, f := range frames {
				m.picture(testAudio, at(begins[i]), f)
			}
		},
		"one PTS for all": func(m *muxer) {
			m.split = 2000
			m.picture(testAudio, at(0), stream)
		},
	} {
		for _, length := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, length said: %v", name, length), func(t *testing.T) {
				m, h := muxer{length: length}, hear()
				pack(&m)
				h.feed(m.out)
				if len(h.frames) != len(frames) {
					t.Fatalf("%d frames of %d came", len(h.frames), len(frames))
				}
				for i, f := range h.frames {
					if !bytes.Equal(f, frames[i][7:]) {
						t.Fatalf("frame %d differs", i)
					}
					want := time.Second + time.Duration(i)*aac.SamplesPerFrame*time.Second/48000
					if off := h.times[i] - want; off.Abs() > time.Millisecond {
						t.Fatalf("frame %d is %v off", i, off)
					}
				}
			})
		}
	}
}

// TestSoundIsFoundAgain damages the stream. What comes out must be what was
// sent, at its own time, but for what was touched.
func TestSoundIsFoundAgain(t *testing.T) {
	frames := adts(200)
	chance := rand.New(rand.NewPCG(5, 8))
	for name, damage := range map[string]func(packets [][]byte) [][]byte{
		"a packet lost":   func(p [][]byte) [][]byte { return slices.Delete(p, 100, 101) },
		"15 packets lost": func(p [][]byte) [][]byte { return slices.Delete(p, 100, 115) },
		"one twice":       func(p [][]byte) [][]byte { return slices.Insert(p, 100, p[99]) },
		"noise in one": func(p [][]byte) [][]byte {
			for i := 20; i < packetSize; i++ {
				p[100][i] = byte(chance.Uint32())
			}
			return p
		},
		"noise in a PES header": func(p [][]byte) [][]byte {
			for i := range p {
				if i > 100 && p[i][1]&0x40 != 0 {
					p[i][4+1+int(p[i][4])]++ // packet_start_code_prefix
					return p
				}
			}
			return nil
		},
		"scrambled": func(p [][]byte) [][]byte { p[100][3] |= 0x80; return p },
	} {
		t.Run(name, func(t *testing.T) {
			var m muxer
			for i := 0; i < len(frames); i += 10 {
				m.picture(testAudio, uint64(i*1920), bytes.Join(frames[i:i+10], nil))
			}
			var packets [][]byte
			for b := range slices.Chunk(m.out, packetSize) {
				packets = append(packets, b)
			}
			h := hear()
			h.feed(slices.Concat(damage(packets)...))
			wrong := 0
			for i, f := range h.frames {
				n := int((h.times[i] + 10*time.Millisecond) * 48000 / aac.SamplesPerFrame / time.Second)
				if !bytes.Equal(f, frames[n][7:]) {
					wrong++
				}
			}
			// Noise within a frame that keeps its header is nobody's to find.
			if wrong > 1 || len(h.frames) < 200-35 || name == "one twice" && len(h.frames) != 200 {
				t.Errorf("%d frames of 200 came, %d not what was sent then", len(h.frames), wrong)
			}
		})
	}
}

func TestSoundBesideThePictures(t *testing.T) {
	film := pictures(t, "baseline.264")
	sound := bytes.Join(adts(2), nil) // 43 ms
	play := func(b *bench, offset int64) {
		for i := range film {
			b.picture(testVideo, b.pts, film[i])
			b.picture(testAudio, uint64(int64(b.pts)+offset)&(1<<33-1), sound)
			b.pts = (b.pts + frame) & (1<<33 - 1)
			b.send(alice)
			b.pass(time.Second / 30)
		}
	}
	aacTrack, videoTrack := track{testAudio, kindAAC}, track{testVideo, kindH264}
	tests := []struct {
		name   string
		tracks []track
		pts    uint64
		offset int64 // of the sound's PTS
		sounds []string
		off    time.Duration
	}{
		{"together", []track{videoTrack, aacTrack}, 0, 0, []string{"AAC, 48 kHz, stereo"}, 0},
		{"first", []track{aacTrack, videoTrack}, 1000, 9000, []string{"AAC, 48 kHz, stereo"}, 100 * time.Millisecond},
		{"wraps", []track{videoTrack, aacTrack}, 1<<33 - 10*frame, -9000, []string{"AAC, 48 kHz, stereo"}, -100 * time.Millisecond},
		{"far away", []track{videoTrack, aacTrack}, 0, 3600 * 90000, []string{"sound left out: its timestamps are far from those of the pictures"}, 0},
		{"LATM", []track{videoTrack, {testAudio, 0x11}}, 0, 0, []string{"sound left out: it is AAC in LATM, set the sender to AAC in ADTS"}, 0},
		{"second choice", []track{{0x200, 0x81}, videoTrack, aacTrack}, 0, 0, []string{"AAC, 48 kHz, stereo"}, 0},
		{"none", []track{videoTrack}, 0, 0, nil, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench()
			b.pts = test.pts
			b.tables(test.tracks...)
			play(b, test.offset)
			sounds := slices.DeleteFunc(b.sink.sounds, func(s string) bool { return s == "" })
			if !slices.Equal(sounds, test.sounds) {
				t.Errorf("described as %q", b.sink.sounds)
			}
			takes := len(test.sounds) > 0 && strings.HasPrefix(test.sounds[0], "AAC")
			if takes != (len(b.sink.audio) > 0) {
				t.Fatalf("%d frames came", len(b.sink.audio))
			}
			for i, f := range b.sink.audio {
				if i%2 == 1 {
					continue // within a PES packet
				}
				near := slices.ContainsFunc(b.units, func(au *h264.AccessUnit) bool { return (f.PTS - au.PTS - test.off).Abs() < time.Millisecond })
				if !near && f.PTS-test.off < b.units[len(b.units)-1].PTS {
					t.Fatalf("frame %d at %v belongs to no picture", i, f.PTS)
				}
			}
		})
	}
}

// The sound follows the pictures over a jump of the sender's clock.
func TestSoundFollowsAJump(t *testing.T) {
	b := newBench()
	b.tables(track{testVideo, kindH264}, track{testAudio, kindAAC})
	sound := adts(1)[0]
	for _, at := range []uint64{0, 5000 * 90000, 77} {
		b.pts = at
		for _, u := range pictures(t, "baseline.264") {
			b.picture(testVideo, b.pts, u)
			b.picture(testAudio, b.pts, sound)
			b.pts += frame
			b.send(alice)
			b.pass(time.Second / 30)
		}
	}
	last := b.units[len(b.units)-1].PTS
	if n := len(b.sink.audio); n < 3*len(pictures(t, "baseline.264"))-6 {
		t.Errorf("%d frames came", n)
	}
	for i, f := range b.sink.audio {
		if i > 0 && f.PTS <= b.sink.audio[i-1].PTS || f.PTS > last+time.Second/10 {
			t.Errorf("frame %d at %v", i, f.PTS)
		}
	}
}

func TestRareSoundIsRefused(t *testing.T) {
	h := hear()
	f := adts(1)[0]
	f[2] &^= 0xc0 // AAC Main
	var m muxer
	m.picture(testAudio, 0, f)
	h.feed(m.out)
	if len(h.frames) != 0 || len(h.refused) == 0 || !strings.Contains(h.refused[0], "set the sender to AAC LC") {
		t.Errorf("%d frames, refused %q", len(h.frames), h.refused)
	}
}

// TestFFmpegSendsSound lets ffmpeg send, and compares the frames and how they
// lie to the pictures with what it sent.
func TestFFmpegSendsSound(t *testing.T) {
	tests := map[string]func(t *testing.T) string{
		"48 kHz":                 func(t *testing.T) string { return filmWithSound(t, "-ar", "48000", "-ac", "2", "-b:a", "128k") },
		"44.1 kHz, mono":         func(t *testing.T) string { return filmWithSound(t, "-ar", "44100", "-ac", "1") },
		"gopro-karma.mp4":        func(t *testing.T) string { return media(t, "gopro-karma.mp4") },
		"gopro-max-heromode.mp4": func(t *testing.T) string { return media(t, "gopro-max-heromode.mp4") },
	}
	for name, file := range tests {
		t.Run(name, func(t *testing.T) {
			ts := filepath.Join(t.TempDir(), "sent.ts")
			ffmpeg(t, "-i", file(t), "-map", "0:v:0", "-map", "0:a:0", "-c", "copy", "-f", "mpegts", ts)
			var want [][]byte
			for stream := ffmpeg(t, "-i", ts, "-map", "0:a", "-c", "copy", "-f", "adts", "-"); len(stream) > 0; {
				h, err := aac.ParseHeader(stream)
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, stream[h.Size:h.Frame])
				stream = stream[h.Frame:]
			}
			to := "udp://127.0.0.1:" + freePort(t)
			r := start(t, to)
			send(t, ts, to+"?pkt_size=1316", "-copyts", "-muxdelay", "0")
			r.wait(t, "the last sound", func() bool {
				return len(r.audio) > 0 && bytes.Equal(r.audio[len(r.audio)-1].Data, want[len(want)-1])
			})
			r.mu.Lock()
			defer r.mu.Unlock()
			skipped := len(want) - len(r.audio)
			if skipped < 0 || skipped > 10 || !slices.EqualFunc(r.audio, want[skipped:], func(f *aac.Frame, data []byte) bool { return bytes.Equal(f.Data, data) }) {
				t.Fatalf("%d frames came, and are not the last ones of the %d sent", len(r.audio), len(want))
			}
			video, sound := packetPTS(t, ts, "v"), packetPTS(t, ts, "a")
			for i, f := range r.audio {
				got := f.PTS - r.units[0].PTS
				if off := got - (sound[skipped+i] - video[0]); off.Abs() > time.Millisecond {
					t.Fatalf("frame %d of the sound is %v off", i, off)
				}
			}
			t.Logf("%d of %d frames, %s", len(r.audio), len(want), r.sounds)
		})
	}
}

func filmWithSound(t *testing.T, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "film.mp4")
	ffmpeg(t, slices.Concat([]string{"-f", "lavfi", "-i", "testsrc2=size=320x240:rate=30", "-f", "lavfi", "-i", "sine", "-t", "3"},
		x264("-bf", "0"), []string{"-c:a", "aac"}, args, []string{file})...)
	return file
}

// packetPTS returns the times that ffprobe finds in a stream of a file.
func packetPTS(t *testing.T, file, stream string) (times []time.Duration) {
	t.Helper()
	path, err := exec.LookPath("ffprobe")
	if err != nil {
		t.Skip("ffprobe is not installed")
	}
	out, err := exec.Command(path, "-v", "error", "-select_streams", stream, "-show_entries", "packet=pts", "-of", "csv=p=0", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if line = strings.Trim(line, ",\n"); line == "" {
			continue
		}
		ticks, err := strconv.ParseInt(line, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, fromTicks(ticks))
	}
	return times
}

// FuzzAudio takes packets of a track of sound.
func FuzzAudio(f *testing.F) {
	frames := adts(12)
	for _, m := range []muxer{{}, {length: true}, {split: 100}, {split: 1000, length: true}} {
		for i := range frames {
			m.picture(testAudio, uint64(i)*1920, frames[i])
		}
		m.picture(testAudio, 0, bytes.Join(frames, nil))
		f.Add(m.out)
	}
	f.Fuzz(func(t *testing.T, packets []byte) {
		h := hear()
		total := 0
		for b := range slices.Chunk(packets, packetSize) {
			h.feed(b)
			if len(h.buf) > aac.MaxFrameSize+aac.HeaderSize+packetSize || h.marked && h.mark > len(h.buf) {
				t.Fatalf("%d bytes are kept, mark %d", len(h.buf), h.mark)
			}
		}
		for _, data := range h.frames {
			total += len(data)
			if len(data) == 0 || len(data) > aac.MaxFrameSize {
				t.Fatalf("a frame of %d bytes", len(data))
			}
		}
		if total > len(packets) {
			t.Fatalf("%d bytes came out of %d", total, len(packets))
		}
	})
}
