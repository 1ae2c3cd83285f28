package fmp4_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/lenscast/lenscast/agent/recording/fmp4"
	"github.com/lenscast/lenscast/agent/recording/recordingtest"
	"github.com/lenscast/lenscast/capture/aac"
)

// file makes a file of n parts of perPart pictures, and returns the pictures,
// the offsets at which the parts begin, and the keyframes.
func file(t testing.TB, src *recordingtest.Source, n, perPart int) (b []byte, samples []fmp4.Sample, offsets []int, keys []fmp4.Keyframe) {
	t.Helper()
	base := int64(0)
	for i := range n {
		part := make([]fmp4.Sample, perPart)
		for j := range part {
			au := src.Next()
			if i == 0 && j == 0 {
				sps, pps := au.ParameterSets()
				var err error
				if b, err = fmp4.Header(sps[0], pps[0], aac.Config{}, []byte("note")); err != nil {
					t.Fatal(err)
				}
			}
			part[j] = fmp4.Sample{NALUs: au.NALUs, Key: au.Key, Duration: fmp4.Timescale / 30}
		}
		offsets = append(offsets, len(b))
		if part[0].Key {
			keys = append(keys, fmp4.Keyframe{Time: base, Offset: int64(len(b))})
		}
		var err error
		if b, err = fmp4.AppendPart(b, uint32(i+1), base, part, fmp4.Audio{}); err != nil {
			t.Fatal(err)
		}
		base += int64(perPart) * fmp4.Timescale / 30
		samples = append(samples, part...)
	}
	return b, samples, offsets, keys
}

func TestEveryNALUnitIsIdentical(t *testing.T) {
	b, want, offsets, _ := file(t, recordingtest.Synthetic(30, 15, 2000), 6, 10)
	rd, err := fmp4.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if string(rd.Note()) != "note" {
		t.Errorf("note %q", rd.Note())
	}
	var got []fmp4.Sample
	for i := 0; ; i++ {
		p, err := rd.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if !p.Whole || p.Number != uint32(i+1) || p.Base != int64(i)*30000 || p.Duration != 30000 {
			t.Errorf("part %d: whole %v, number %d, from %d for %d", i, p.Whole, p.Number, p.Base, p.Duration)
		}
		samples, err := p.Samples()
		if err != nil {
			t.Fatal(err)
		}
		for n, s := range samples {
			for k := range s.NALUs {
				s.NALUs[k] = bytes.Clone(s.NALUs[k])
			}
			samples[n] = s
		}
		got = append(got, samples...)
	}
	same := func(x, y fmp4.Sample) bool {
		return x.Duration == y.Duration && x.Key == y.Key && slices.EqualFunc(x.NALUs, y.NALUs, bytes.Equal)
	}
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("%d pictures read, not the %d written", len(got), len(want))
	}
	for _, off := range offsets {
		if off%fmp4.Block != 0 {
			t.Errorf("a part begins at %d, not at a block", off)
		}
	}
	if len(b)%fmp4.Block != 0 {
		t.Errorf("the last part ends at %d, not at a block", len(b))
	}
}

// TestCutAnywhereKeepsWholeParts cuts a file at every length: all parts
// before the cut are read, and what follows is called torn.
func TestCutAnywhereKeepsWholeParts(t *testing.T) {
	b, _, offsets, _ := file(t, recordingtest.Synthetic(30, 5, 300), 4, 5)
	ends := append(slices.Clone(offsets[1:]), len(b))
	for size := 0; size <= len(b); size += 7 {
		rd, err := fmp4.NewReader(bytes.NewReader(b[:size]))
		if size < offsets[0] {
			if !errors.Is(err, fmp4.ErrTorn) {
				t.Fatalf("%d bytes of header: %v", size, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; err == nil; n++ {
			_, err = rd.Next()
		}
		n--
		at, exact := slices.BinarySearch(ends, size)
		if exact {
			at++
		}
		if n != at {
			t.Fatalf("%d parts in the first %d bytes, want %d", n, size, at)
		}
		if wantEOF := size == offsets[0] || exact; errors.Is(err, io.EOF) != wantEOF || !wantEOF && !errors.Is(err, fmp4.ErrTorn) {
			t.Fatalf("at %d: %v", size, err)
		}
	}
}

func TestChecksumTellsHalfWrittenPart(t *testing.T) {
	b, _, offsets, _ := file(t, recordingtest.Synthetic(30, 5, 3000), 3, 5)
	clear(b[offsets[1]+4096 : offsets[1]+8192]) // a block that the disk never got
	rd, err := fmp4.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, true} {
		p, err := rd.Next()
		if err != nil || p.Whole != want {
			t.Errorf("part %d: whole %v, %v; want %v", i, p.Whole, err, want)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want int64
	}{
		{0, 0},
		{time.Second, 90000},
		{time.Second / 30, 3000},
		{24 * time.Hour, 24 * 3600 * 90000},
		{290 * 365 * 24 * time.Hour, 290 * 365 * 24 * 3600 * 90000},
	} {
		if got := fmp4.Ticks(tt.d); got != tt.want {
			t.Errorf("Ticks(%v) = %d, want %d", tt.d, got, tt.want)
		}
	}
	for _, d := range []time.Duration{time.Millisecond, time.Second / 3, 25 * time.Hour, 1<<63 - 1} {
		if back := fmp4.Duration(fmp4.Ticks(d)); max(back-d, d-back) > 12*time.Microsecond {
			t.Errorf("%v became %v", d, back)
		}
	}
}

// TestForeignToolsPlay lets ffmpeg judge the file as it is on the disk, cut
// in the middle, and as the player gives it out.
func TestForeignToolsPlay(t *testing.T) {
	src := recordingtest.Clip(t, "320x180", 30, 4, "500k")
	b, samples, offsets, keys := file(t, src, 8, 15)
	whole := fmp4.AppendIndex(b, keys)
	index, end, err := fmp4.ReadIndex(bytes.NewReader(whole), int64(len(whole)))
	if err != nil || !slices.Equal(index, keys) || end != int64(len(b)) {
		t.Fatalf("index read: %v, %d, %v", index, end, err)
	}
	player, err := fmp4.NewPlayer(bytes.NewReader(whole), index, end, 4*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	played, err := io.ReadAll(player)
	if err != nil || int64(len(played)) != player.Size() {
		t.Fatalf("%d bytes of %d, %v", len(played), player.Size(), err)
	}
	still, err := fmp4.Still(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data     []byte
		pictures int
	}{
		"finished": {whole, len(samples)},
		"growing":  {b, len(samples)},
		"cut":      {b[:offsets[5]], 5 * 15},
		"played":   {played, len(samples)},
		"still":    {still, 1},
	} {
		path := filepath.Join(t.TempDir(), "f.mp4")
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("ffprobe", "-v", "error", "-count_frames", "-show_entries",
			"stream=nb_read_frames:format=duration", "-of", "csv=p=0", path).CombinedOutput()
		want := fmt.Sprintf("%d\n%f\n", c.pictures, float64(c.pictures)/30)
		if name == "still" {
			want = "1\n1.000000\n"
		}
		if err != nil || string(out) != want {
			t.Errorf("%s: ffprobe says %q, %v; want %q", name, out, err, want)
		}
		out, err = exec.Command("ffmpeg", "-v", "error", "-i", path, "-f", "null", "-").CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: ffmpeg: %s %v", name, out, err)
		}
	}
}

// TestPlayerHasIndexInFront compares what the player gives out with the file:
// the same, but for the index.
func TestPlayerHasIndexInFront(t *testing.T) {
	b, _, offsets, keys := file(t, recordingtest.Synthetic(30, 15, 500), 8, 15)
	player, err := fmp4.NewPlayer(bytes.NewReader(b), keys, int64(len(b)), 4*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	front := make([]byte, offsets[0]+40+12*len(keys))
	if _, err := io.ReadFull(player, front); err != nil {
		t.Fatal(err)
	}
	if kind := string(front[offsets[0]+4:][:4]); kind != "sidx" {
		t.Errorf("after the header comes %q", kind)
	}
	rest, err := io.ReadAll(player)
	if err != nil || !bytes.Equal(rest, b[offsets[0]:]) {
		t.Errorf("after the index come %d bytes, want the parts' %d; %v", len(rest), len(b)-offsets[0], err)
	}
}

func FuzzReader(f *testing.F) {
	b, _, offsets, _ := file(f, recordingtest.Synthetic(30, 3, 40), 2, 3)
	f.Add(b)
	f.Add(b[:offsets[1]+100])
	b, _, _ = fileWithSound(f, recordingtest.Synthetic(30, 30, 40), recordingtest.SyntheticAudio(aac.Config{SampleRate: 8000, Channels: 1}, 20), 2)
	f.Add(b)
	f.Add([]byte("\x00\x00\x00\x08ftyp\x7f\xff\xff\xffmoov"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = fmp4.Still(bytes.NewReader(b))
		_, _, _ = fmp4.ReadIndex(bytes.NewReader(b), int64(len(b)))
		rd, err := fmp4.NewReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		total := len(rd.Header())
		for {
			p, err := rd.Next()
			if err != nil {
				break
			}
			total += len(p.Raw)
			if samples, err := p.Samples(); err == nil && len(samples) != p.Pictures {
				t.Errorf("%d samples, %d pictures", len(samples), p.Pictures)
			}
		}
		if total > len(b) {
			t.Errorf("%d bytes read of %d", total, len(b))
		}
	})
}

func BenchmarkAppendPart(b *testing.B) {
	src := recordingtest.Synthetic(30, 30, 8<<20/8/30)
	samples := make([]fmp4.Sample, 30)
	for i := range samples {
		au := src.Next()
		samples[i] = fmp4.Sample{NALUs: au.NALUs, Key: au.Key, Duration: 3000}
	}
	buf, err := fmp4.AppendPart(nil, 1, 0, samples, fmp4.Audio{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = fmp4.AppendPart(buf[:0], 1, 0, samples, fmp4.Audio{})
	}
}
