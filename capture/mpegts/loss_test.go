package mpegts

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

// TestLoss drops, reorders, doubles and damages datagrams. Whatever comes
// through must be whole groups of pictures or their beginnings, and ffmpeg must
// decode all of it without a complaint.
func TestLoss(t *testing.T) {
	// Pictures of 10 to 40 kB in groups of 15, so that losses hit everything.
	stream := ffmpeg(t, slices.Concat(
		[]string{"-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30", "-f", "lavfi", "-i", "sine", "-t", "6"},
		x264("-bf", "0", "-g", "15", "-b:v", "4M", "-minrate", "4M", "-maxrate", "4M", "-bufsize", "1M"),
		[]string{"-c:a", "mp2", "-f", "mpegts", "-"})...)
	whole := receive(stream, func(d [][]byte) [][]byte { return d })
	if len(whole.units) != 180 || len(whole.losses) != 0 {
		t.Fatalf("%d pictures of 180, lost %q", len(whole.units), whole.losses)
	}
	position := make(map[string]int) // of a picture, by its last slice
	for i, au := range whole.units {
		position[string(au.NALUs[len(au.NALUs)-1])] = i
	}

	ways := []struct {
		name string
		harm func(r *rand.Rand, d [][]byte) [][]byte
	}{
		{"1 % lost", func(r *rand.Rand, d [][]byte) [][]byte {
			return slices.DeleteFunc(d, func([]byte) bool { return r.IntN(100) == 0 })
		}},
		{"bursts lost", func(r *rand.Rand, d [][]byte) [][]byte {
			for hits := 0; hits < 8; {
				n := 1 + r.IntN(30)
				at := r.IntN(len(d) - n)
				// What the counter can't show; see the package comment.
				if countVideo(d[at:at+n])%16 != 0 {
					d = slices.Delete(d, at, at+n)
					hits++
				}
			}
			return d
		}},
		{"neighbours swapped", func(r *rand.Rand, d [][]byte) [][]byte {
			for range 10 {
				at := r.IntN(len(d) - 1)
				d[at], d[at+1] = d[at+1], d[at]
			}
			return d
		}},
		{"some late", func(r *rand.Rand, d [][]byte) [][]byte {
			for range 10 {
				at := r.IntN(len(d) - 20)
				late := d[at]
				d = slices.Delete(d, at, at+1)
				d = slices.Insert(d, at+1+r.IntN(2), late)
			}
			return d
		}},
		{"some twice", func(r *rand.Rand, d [][]byte) [][]byte {
			for range 10 {
				at := r.IntN(len(d))
				d = slices.Insert(d, at, d[at])
			}
			return d
		}},
		{"headers damaged", func(r *rand.Rand, d [][]byte) [][]byte {
			for range 20 {
				at := r.IntN(len(d))
				d[at] = bytes.Clone(d[at])
				// Any bit but those that tell whether there is a payload:
				// nothing repeats them.
				bit := r.IntN(3*8 + 4)
				if bit >= 24 {
					bit += 4
				}
				d[at][packetSize*r.IntN(len(d[at])/packetSize)+bit/8] ^= 0x80 >> (bit % 8)
			}
			return d
		}},
		{"cut short", func(r *rand.Rand, d [][]byte) [][]byte {
			for range 10 {
				at := r.IntN(len(d))
				d[at] = d[at][:r.IntN(len(d[at]))]
			}
			return d
		}},
	}
	for _, way := range ways {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%s %d", way.name, seed), func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 0))
				got := receive(stream, func(d [][]byte) [][]byte { return way.harm(random, d) })
				var out []byte
				before := -2
				for i, au := range got.units {
					at, ok := position[string(au.NALUs[len(au.NALUs)-1])]
					if !ok {
						t.Fatalf("picture %d is none of those sent", i)
					}
					if at != before+1 && !au.Key {
						t.Errorf("picture %d follows %d and is no IDR", at, before)
					}
					before = at
					out = h264.AppendAnnexB(out, au.NALUs)
				}
				if len(got.units) < 30 || way.name != "some twice" && len(got.losses) == 0 {
					t.Errorf("%d pictures came through, lost %q", len(got.units), got.losses)
				}
				if n, complaints := decode(t, out); n != len(got.units) || complaints != "" {
					t.Errorf("ffmpeg decodes %d of %d pictures: %s", n, len(got.units), complaints)
				}
			})
		}
	}
}

// TestLossOfSixteen loses what the continuity counter can't show, between
// pictures: frame_num does.
func TestLossOfSixteen(t *testing.T) {
	b := newBench()
	film := pictures(t, "high.264")
	b.tables(track{testVideo, kindH264})
	b.film(alice, film[:5])
	n := len(b.units)
	b.film(bob, film[5:7]) // to nobody
	b.counters[testVideo] = b.demuxer.counter + 1
	b.film(alice, film[7:])
	if len(b.losses) != 1 || !strings.Contains(b.losses[0], "pictures lost") || b.units[n].Key {
		t.Errorf("lost %q", b.losses)
	}
	if n = slices.IndexFunc(b.units[1:], func(au *h264.AccessUnit) bool { return au.Key }); n != 4 {
		t.Errorf("the next IDR came %d pictures after the first, want 5", n+1)
	}
}

// countVideo counts the packets with a part of a picture.
func countVideo(datagrams [][]byte) (n int) {
	for b := range slices.Chunk(bytes.Join(datagrams, nil), packetSize) {
		if p, err := parsePacket(b); err == nil && p.pid == 0x100 && len(p.payload) > 0 { // ffmpeg's first track
			n++
		}
	}
	return n
}

// receive lets a receiver take a stream in datagrams of seven packets.
func receive(stream []byte, harm func(d [][]byte) [][]byte) *bench {
	b := newBench()
	for _, d := range harm(slices.Collect(slices.Chunk(stream, 7*packetSize))) {
		b.datagram(d, alice, b.now)
		b.now = b.now.Add(time.Millisecond)
	}
	return b
}

// decode returns how many pictures ffmpeg makes of a byte stream, and what it
// complains of.
func decode(t *testing.T, stream []byte) (pictures int, complaints string) {
	t.Helper()
	path, _ := exec.LookPath("ffmpeg")
	cmd := exec.Command(path, "-v", "error", "-err_detect", "explode", "-f", "h264", "-i", "-", "-fps_mode", "passthrough", "-f", "framemd5", "-")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stream), &stderr
	out, err := cmd.Output()
	if err != nil {
		io.WriteString(&stderr, err.Error())
	}
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			pictures++
		}
	}
	return pictures, stderr.String()
}
