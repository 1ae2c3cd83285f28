package h264

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// seeds calls add with the beginning of every stream in testdata.
func seeds(f *testing.F, add func(stream []byte)) {
	files, err := filepath.Glob("testdata/*.264")
	if err != nil || len(files) == 0 {
		f.Fatal("no streams in testdata", err)
	}
	for _, file := range files {
		stream, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		add(stream[:min(len(stream), 4096)])
	}
}

// FuzzSplit checks that both splitters agree, and that what they return is
// what was there.
func FuzzSplit(f *testing.F) {
	seeds(f, func(stream []byte) { f.Add(stream) })
	f.Fuzz(func(t *testing.T, stream []byte) {
		nalus, err := SplitAnnexB(nil, stream)
		if err != nil {
			t.Skip("too many")
		}
		for _, nalu := range nalus {
			if len(nalu) == 0 || nalu[len(nalu)-1] == 0 || bytes.Contains(nalu, []byte{0, 0, 1}) {
				t.Fatalf("%x is no NAL unit", nalu)
			}
		}
		again, err := SplitAnnexB(nil, AppendAnnexB(nil, nalus))
		if err != nil || !equal(again, nalus) {
			t.Fatal("written and read again, the NAL units differ")
		}
		var read [][]byte
		for r := NewReader(bytes.NewReader(stream)); ; {
			unit, err := r.Next()
			if err != nil {
				break
			}
			if len(unit) == 0 {
				t.Fatal("an access unit without NAL units")
			}
			read = append(read, unit...)
		}
		if !equal(read, nalus) {
			t.Fatalf("the reader found %x, the splitter %x", read, nalus)
		}
	})
}

func equal(a, b [][]byte) bool {
	return bytes.Equal(AppendAnnexB(nil, a), AppendAnnexB(nil, b))
}

// FuzzAssembler checks what every access unit promises.
func FuzzAssembler(f *testing.F) {
	seeds(f, func(stream []byte) { f.Add(stream, uint8(0)) })
	f.Fuzz(func(t *testing.T, stream []byte, lose uint8) {
		var a Assembler
		started := false
		r := NewReader(bytes.NewReader(stream))
		for n := 0; ; n++ {
			nalus, err := r.Next()
			if err != nil {
				return
			}
			if lose != 0 && n == int(lose) {
				a.Lost()
				started = false
			}
			au, err := a.Assemble(nalus, time.Duration(n)*time.Second, time.Time{})
			if (au == nil) == (err == nil) {
				t.Fatalf("access unit %v and error %v", au, err)
			}
			if err != nil {
				var refused *UnsupportedError
				if errors.Is(err, ErrLost) || errors.As(err, &refused) || errors.Is(err, ErrWaiting) {
					started = false
				} else if !errors.Is(err, ErrNoPicture) {
					t.Fatalf("an error of no known kind: %v", err)
				}
				continue
			}
			if !started && !au.Key {
				t.Fatal("the first picture is no IDR")
			}
			started = true
			sps, pps := au.ParameterSets()
			if au.Key && (len(sps) != 1 || len(pps) == 0 || TypeOf(au.NALUs[0]) != NALUSPS || TypeOf(au.NALUs[len(pps)]) != NALUPPS) {
				t.Fatalf("an IDR with %d SPS and %d PPS before it", len(sps), len(pps))
			}
			for _, nalu := range sps {
				if _, err := ParseFormat(nalu); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// FuzzFormat checks that sizes stay within what H.264 can say.
func FuzzFormat(f *testing.F) {
	seeds(f, func(stream []byte) {
		nalus, _ := SplitAnnexB(nil, stream)
		for _, nalu := range nalus {
			if TypeOf(nalu) == NALUSPS {
				f.Add(nalu)
			}
		}
	})
	f.Fuzz(func(t *testing.T, sps []byte) {
		format, err := ParseFormat(sps)
		if err != nil {
			return
		}
		if format.Width < 1 || format.Width > 16384 || format.Height < 1 || format.Height > 32768 || format.FPS < 0 {
			t.Fatalf("%+v", format)
		}
	})
}

// FuzzSlice parses slice headers with parameter sets that are as broken.
func FuzzSlice(f *testing.F) {
	seeds(f, func(stream []byte) {
		nalus, _ := SplitAnnexB(nil, stream)
		var sps, pps []byte
		for _, nalu := range nalus {
			switch TypeOf(nalu) {
			case NALUSPS:
				sps = nalu
			case NALUPPS:
				pps = nalu
			case NALUSlice, NALUIDR:
				f.Add(sps, pps, nalu[:min(len(nalu), 64)])
			}
		}
	})
	f.Fuzz(func(t *testing.T, sps, pps, nalu []byte) {
		var sets parameterSets
		if len(nalu) == 0 || TypeOf(sps) != NALUSPS || TypeOf(pps) != NALUPPS || sets.add(sps) != nil || sets.add(pps) != nil {
			return
		}
		var s slice
		if s.parse(nalu, &sets) == nil && (s.sps == nil || s.pps == nil || s.kind > 4 || s.startsPicture(&s)) {
			t.Fatalf("%+v", s)
		}
	})
}
