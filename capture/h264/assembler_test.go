package h264_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

// pictures returns the access units of a stream in testdata.
func pictures(t testing.TB, name string) (units [][][]byte) {
	t.Helper()
	for r := h264.NewReader(bytes.NewReader(readStream(t, name))); ; {
		nalus, err := r.Next()
		if errors.Is(err, io.EOF) {
			return units
		}
		if err != nil {
			t.Fatal(err)
		}
		units = append(units, nalus)
	}
}

// feeder assembles pictures at 15 fps.
type feeder struct {
	h264.Assembler
	n int
}

func (f *feeder) feed(nalus [][]byte) (*h264.AccessUnit, error) {
	au, err := f.Assemble(nalus, time.Duration(f.n)*time.Second/15, time.Time{})
	f.n++
	return au, err
}

// feedAll returns a letter for each picture: K an IDR, p another one, - waiting
// for an IDR, L lost, U unsupported.
func (f *feeder) feedAll(t *testing.T, units [][][]byte) (letters string, last error) {
	t.Helper()
	for _, nalus := range units {
		au, err := f.feed(nalus)
		var refused *h264.UnsupportedError
		switch {
		case err == nil && au.Key:
			letters += "K"
		case err == nil:
			letters += "p"
		case errors.Is(err, h264.ErrWaiting):
			letters += "-"
		case errors.Is(err, h264.ErrLost):
			letters, last = letters+"L", err
		case errors.As(err, &refused):
			letters, last = letters+"U", err
		default:
			t.Fatal(err)
		}
	}
	return letters, last
}

// without returns the NAL units that are not of the types.
func without(nalus [][]byte, types ...h264.NALUType) [][]byte {
	return slices.DeleteFunc(slices.Clone(nalus), func(nalu []byte) bool {
		return slices.Contains(types, h264.TypeOf(nalu))
	})
}

func TestAssembler(t *testing.T) {
	base := pictures(t, "baseline.264") // 30 pictures, IDR 0, 10 and 20
	bframes := pictures(t, "bframes.264")
	refresh := pictures(t, "intrarefresh.264") // one IDR
	sliced := pictures(t, "slices.264")
	reversed := without(sliced[0])
	slices.Reverse(reversed[len(reversed)-4:])
	var noSets [][][]byte
	for _, nalus := range base {
		noSets = append(noSets, without(nalus, h264.NALUSPS, h264.NALUPPS))
	}
	groups := bits("1 1 0 0 010 1")                                      // PPS 0 with two slice groups
	const group, waits = "Kppppppppp", "----------"                      // of 10 pictures
	three := slices.Concat(base[:1], base[2:11], base[12:21], base[22:]) // each lacks its second

	tests := []struct {
		name  string
		units [][][]byte
		want  string
		err   string
	}{
		{"all is well", base, group + group + group, ""},
		{"begins in the middle", base[3:], waits[3:] + group + group, ""},
		{"a picture is missing", slices.Delete(slices.Clone(base), 4, 5), "KpppL----" + group + group, "picture 5 came where 4 should"},
		{"an IDR is missing", slices.Delete(slices.Clone(base), 10, 11), group + "L--------" + group, "picture 1 came where 10 should"},
		{"the end of a group is missing", slices.Delete(slices.Clone(base), 7, 10), group[:7] + group + group, ""},
		{"the same picture is always missing", slices.Concat(three, three), strings.Repeat("KL-------", 3) + strings.Repeat("Kpppppppp", 3), "picture 2 came where 1 should"},
		{"B-frames", bframes, "Kp" + strings.Repeat("U", 28), "turn B-frames off"},
		{"B-frames, then another SPS", slices.Concat(bframes, base), "Kp" + strings.Repeat("U", 28) + group + group + group, "turn B-frames off"},
		{"refused once, then the same SPS", slices.Concat(sliced[:3], [][][]byte{reversed}, sliced[4:]), "Kpp" + strings.Repeat("U", 7+10) + group, "arbitrary order"},
		{"gradual refresh, joined late", slices.Concat(refresh[1:], refresh[1:], refresh[1:], refresh[1:], refresh[1:], refresh[1:]), strings.Repeat("-", 150) + strings.Repeat("U", 24), "without keyframes"},
		{"no SPS and PPS", slices.Concat(noSets, noSets, noSets, noSets, noSets, noSets), strings.Repeat("-", 150) + strings.Repeat("U", 30), "without SPS and PPS"},
		{"SPS and PPS once", slices.Concat(base[:1], noSets[1:]), group + group + group, ""},
		{"SPS and PPS alone", slices.Concat([][][]byte{base[0][:2]}, noSets)[1:], strings.Repeat("-", 30), ""},
		{"slices in reverse", [][][]byte{sliced[0], reversed}, "KU", "arbitrary order"},
		{"a slice is missing", [][][]byte{sliced[0], sliced[1][1:], sliced[2]}, "KL-", "beginning of a picture"},
		{"a slice came twice", [][][]byte{sliced[0], slices.Concat(sliced[1], sliced[1][len(sliced[1])-1:])}, "KL", "twice"},
		{"two pictures as one", [][][]byte{base[0], slices.Concat(base[1], base[2])}, "KL", "two pictures"},
		{"slice groups", [][][]byte{slices.Concat(base[0][:2], [][]byte{groups}, base[0][2:])}, "U", "FMO"},
		{"partitions", [][][]byte{base[0], {{0x42, 0x80}}}, "KU", "partitions"},
		{"a broken slice", [][][]byte{base[0], {{0x41}}, base[2], base[10]}, "KL-K", "slice header"},
		{"a broken PPS", [][][]byte{base[0], slices.Concat([][]byte{{0x68}}, base[1])}, "KL", "PPS"},
		{"10 bit", pictures(t, "high10.264")[:3], "UUU", "10-bit"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var f feeder
			letters, err := f.feedAll(t, test.units)
			if letters != test.want {
				t.Errorf("got  %s\nwant %s", letters, test.want)
			}
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
		})
	}
}

// bits makes a PPS of its bits, up to the stop bit.
func bits(s string) []byte {
	s = strings.ReplaceAll(s, " ", "") + "1"
	s += strings.Repeat("0", -len(s)&7)
	nalu := []byte{0x68}
	for i := 0; i < len(s); i += 8 {
		b := byte(0)
		for _, c := range s[i : i+8] {
			b = b<<1 | byte(c-'0')
		}
		nalu = append(nalu, b)
	}
	return nalu
}

func TestAssemblerNoPicture(t *testing.T) {
	base := pictures(t, "baseline.264")
	var f feeder
	for _, nalus := range [][][]byte{nil, {{0x09, 0x10}}, without(base[0], h264.NALUIDR)} {
		if au, err := f.feed(nalus); au != nil || !errors.Is(err, h264.ErrNoPicture) {
			t.Errorf("got %v, %v", au, err)
		}
	}
	if au, err := f.feed(without(base[0], h264.NALUSPS, h264.NALUPPS)); err != nil || !au.Key {
		t.Errorf("an IDR whose parameter sets came before it: %v", err)
	}
}

func TestAssemblerLost(t *testing.T) {
	base := pictures(t, "baseline.264")
	var f feeder
	before, _ := f.feedAll(t, base[:4])
	f.Lost()
	after, _ := f.feedAll(t, base[4:])
	if before != "Kppp" || after != "------KpppppppppKppppppppp" {
		t.Errorf("got %s and, after the loss, %s", before, after)
	}
}

func TestAssemblerParameterSets(t *testing.T) {
	base := pictures(t, "baseline.264")
	types := func(au *h264.AccessUnit) (s []h264.NALUType) {
		for _, nalu := range au.NALUs {
			s = append(s, h264.TypeOf(nalu))
		}
		return s
	}
	const idr, slice, sei, sps, pps = h264.NALUIDR, h264.NALUSlice, h264.NALUSEI, h264.NALUSPS, h264.NALUPPS
	other := bits("00110 1 0 0 1 1 1 0 00 1 1 1 1 0 0")     // PPS 5 of SPS 0
	foreign := bits("00111 010 0 0 1 1 1 0 00 1 1 1 1 0 0") // PPS 6 of SPS 1, which does not exist
	noise := [][]byte{{0x09, 0x10}, {0x0c, 0xff, 0x80}, {0x0a}, {0x0b}, {0x6e, 0, 0, 0}, {0x6f, 1}, {0x74, 0, 0, 0}, {}}

	var f feeder
	for _, step := range []struct {
		name  string
		nalus [][]byte
		want  []h264.NALUType
	}{
		{"first IDR, and what is left out", slices.Concat(noise, base[0], noise), []h264.NALUType{sps, pps, sei, idr}},
		{"picture", base[1], []h264.NALUType{slice}},
		{"picture with sets that are known", slices.Concat(base[0][:2], base[2]), []h264.NALUType{slice}},
		{"picture with new PPS", slices.Concat([][]byte{other, foreign}, base[3]), []h264.NALUType{pps, slice}},
		{"picture", base[4], []h264.NALUType{slice}},
		{"IDR without any", without(base[10], sps, pps), []h264.NALUType{sps, pps, pps, idr}},
	} {
		au, err := f.feed(step.nalus)
		if err != nil {
			t.Fatal(step.name, err)
		}
		if got := types(au); !slices.Equal(got, step.want) {
			t.Errorf("%s: NAL units %v, want %v", step.name, got, step.want)
		}
	}
}

func TestAssembleCostsOneAllocation(t *testing.T) {
	base := pictures(t, "slices.264")
	var f feeder
	i := 0
	allocs := testing.AllocsPerRun(len(base)-1, func() {
		if _, err := f.feed(base[i]); err != nil {
			t.Fatal(err)
		}
		i++
	})
	if allocs > 1 { // the access unit with its list of NAL units
		t.Errorf("%v allocations an access unit, want 1", allocs)
	}
}

func BenchmarkAssemble(b *testing.B) {
	base := pictures(b, "slices.264")
	var f feeder
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := f.feed(base[i%len(base)]); err != nil {
			b.Fatal(err)
		}
	}
}
