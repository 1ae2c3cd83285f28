// Package recordingtest makes pictures for tests of recordings.
package recordingtest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

// parameterSets returns the parameter sets of 640x360 Constrained Baseline.
func parameterSets() (sps, pps []byte) {
	sps, _ = hex.DecodeString("6742c01ed900a02ff970110000030001000003003c8f162e48")
	pps, _ = hex.DecodeString("68cb83cb20")
	return sps, pps
}

// Source makes one picture after the other.
type Source struct {
	// Interval is the time from one picture to the next.
	Interval time.Duration

	clip []*h264.AccessUnit
	n    int
	pts  time.Duration
}

// Next returns the next picture. Its PTS is one interval after the last one's.
func (s *Source) Next() *h264.AccessUnit {
	au := *s.clip[s.n%len(s.clip)]
	s.n++
	au.PTS = s.pts
	au.Captured = time.Now()
	s.pts += s.Interval
	return &au
}

// Skip lets d pass without a picture, which then begins with an IDR.
func (s *Source) Skip(d time.Duration) {
	s.pts += d
	s.n += (len(s.clip) - s.n%len(s.clip)) % len(s.clip)
}

// Len returns how many pictures are different, before they repeat.
func (s *Source) Len() int { return len(s.clip) }

// Synthetic makes pictures that have the form of H.264 but no picture in
// them: groups of gop pictures of about size bytes.
func Synthetic(fps float64, gop, size int) *Source {
	sps, pps := parameterSets()
	chance := rand.New(rand.NewPCG(1, 1))
	s := &Source{Interval: time.Duration(float64(time.Second) / fps)}
	for i := range gop {
		slice := make([]byte, max(size/2+chance.IntN(size), 16))
		for j := 0; j+8 <= len(slice); j += 8 {
			binary.LittleEndian.PutUint64(slice[j:], chance.Uint64())
		}
		slice[0] = 0x61
		au := &h264.AccessUnit{NALUs: [][]byte{slice}}
		if i == 0 {
			slice[0] = 0x65
			au.Key, au.NALUs = true, [][]byte{sps, pps, slice}
		}
		s.clip = append(s.clip, au)
	}
	return s
}

// Clip makes real pictures by ffmpeg, without B-frames and in groups of one
// second. The test is skipped when there is no ffmpeg.
func Clip(tb testing.TB, size string, fps, seconds int, bitrate string) *Source {
	tb.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		tb.Skip("ffmpeg is not installed")
	}
	cmd := exec.Command(ffmpeg, "-v", "error", "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%s:rate=%d", size, fps),
		"-t", fmt.Sprint(seconds), "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0",
		"-b:v", bitrate, "-minrate", bitrate, "-maxrate", bitrate, "-bufsize", bitrate,
		"-x264-params", fmt.Sprintf("nal-hrd=cbr:aud=1:keyint=%d:min-keyint=%d:scenecut=0", fps, fps), "-f", "h264", "-")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stream, err := cmd.Output()
	if err != nil {
		tb.Fatalf("ffmpeg: %v\n%s", err, stderr.Bytes())
	}
	s, err := FromAnnexB(stream, fps)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// FromAnnexB makes a source of an H.264 stream that has access unit
// delimiters and begins with its parameter sets.
func FromAnnexB(stream []byte, fps int) (*Source, error) {
	s := &Source{Interval: time.Second / time.Duration(fps)}
	var au *h264.AccessUnit
	for _, nalu := range split(stream) {
		if h264.TypeOf(nalu) == h264.NALUAUD {
			au = &h264.AccessUnit{}
			s.clip = append(s.clip, au)
		}
		if au == nil {
			return nil, fmt.Errorf("the stream does not begin with an access unit delimiter")
		}
		au.NALUs = append(au.NALUs, nalu)
		au.Key = au.Key || h264.TypeOf(nalu) == h264.NALUIDR
	}
	if len(s.clip) == 0 || !s.clip[0].Key {
		return nil, fmt.Errorf("the stream does not begin with an IDR")
	}
	return s, nil
}

// split cuts a byte stream at its start codes (H.264 annex B).
func split(stream []byte) [][]byte {
	var nalus [][]byte
	startCode := []byte{0, 0, 1}
	_, rest, found := bytes.Cut(stream, startCode)
	for found {
		var nalu []byte
		nalu, rest, found = bytes.Cut(rest, startCode)
		nalus = append(nalus, bytes.TrimRight(nalu, "\x00"))
	}
	return nalus
}
