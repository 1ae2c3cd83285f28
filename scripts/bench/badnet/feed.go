package main

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/scripts/bench/internal/peer"
	"github.com/lenscast/lenscast/transport/udp/mpegts"
)

const (
	fps = 30
	gop = 30 // pictures
)

// source is a camera: it plays a clip for ever, and remembers when it sent
// which picture. Each picture carries its number, in an SEI message of
// user data (H.264 section D.1.7) that all senders pass on.
type source struct {
	clip []*h264.AccessUnit
	sums []uint64 // of their slices

	mu   sync.Mutex
	sent []time.Time // of each picture since the start
}

// newSource makes a clip of about 5 Mbit/s. Noise that stands still makes
// large keyframes, as real ones are.
func newSource(ctx context.Context, dir string) (*source, error) {
	path := dir + "/clip.ts"
	err := peer.Encode(ctx, path, peer.Clip{
		Source: fmt.Sprintf("testsrc2=size=1280x720:rate=%d,noise=alls=6", fps), FPS: fps, Seconds: 10, GOP: gop,
		Rate: []string{"-b:v", "5M", "-maxrate", "6M", "-bufsize", "5M"},
	})
	if err != nil {
		return nil, err
	}
	stream, err := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-i", path, "-c", "copy", "-f", "h264", "-").Output()
	if err != nil {
		return nil, fmt.Errorf("read clip: %w", err)
	}
	s := &source{}
	if s.clip, err = h264.ReadAll(bytes.NewReader(stream)); err != nil {
		return nil, fmt.Errorf("read clip: %w", err)
	}
	for _, au := range s.clip {
		s.sums = append(s.sums, sumOf(au.NALUs))
	}
	return s, os.Remove(path)
}

// sumOf returns the sum of the slices among NAL units.
func sumOf(nalus [][]byte) uint64 {
	sum := fnv.New64a()
	for _, nalu := range nalus {
		if t := h264.TypeOf(nalu); t == h264.NALUSlice || t == h264.NALUIDR {
			_, _ = sum.Write(nalu) // never fails
		}
	}
	return sum.Sum64()
}

// play sends the clip to a port until ctx ends.
func (s *source) play(ctx context.Context, port int) error {
	conn, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return err
	}
	defer conn.Close()
	s.mu.Lock()
	s.sent = nil
	s.mu.Unlock()
	mux := mpegts.NewMuxer()
	var buf []byte
	start := time.Now()
	for i := 0; ctx.Err() == nil; i++ {
		pts := time.Duration(i) * time.Second / fps
		time.Sleep(time.Until(start.Add(pts)))
		au := *s.clip[i%len(s.clip)]
		au.NALUs = numbered(au.NALUs, i)
		s.mu.Lock()
		s.sent = append(s.sent, time.Now())
		s.mu.Unlock()
		buf = mux.AppendPicture(buf[:0], &au, pts)
		for rest := buf; len(rest) > 0; {
			n := min(7*mpegts.PacketSize, len(rest))
			_, _ = conn.Write(rest[:n]) // the sender may not listen yet
			rest = rest[n:]
		}
	}
	return nil
}

// uuid marks the messages that carry numbers.
const uuid = "lenscast badnet:"

// numbered inserts the number of a picture before its first slice.
func numbered(nalus [][]byte, number int) [][]byte {
	sei := []byte{byte(h264.NALUSEI), 5, byte(len(uuid) + 8)} // user_data_unregistered
	sei = append(fmt.Appendf(append(sei, uuid...), "%08d", number), 0x80)
	for i, nalu := range nalus {
		if t := h264.TypeOf(nalu); t == h264.NALUSlice || t == h264.NALUIDR {
			return append(append(append([][]byte(nil), nalus[:i]...), sei), nalus[i:]...)
		}
	}
	return nalus
}

// numberOf finds the number of a picture, -1 when it is not there.
func numberOf(nalus [][]byte) int {
	for _, nalu := range nalus {
		if h264.TypeOf(nalu) != h264.NALUSEI {
			continue
		}
		if i := bytes.Index(nalu, []byte(uuid)); i >= 0 && len(nalu) >= i+len(uuid)+8 {
			if n, err := strconv.Atoi(string(nalu[i+len(uuid) : i+len(uuid)+8])); err == nil {
				return n
			}
		}
	}
	return -1
}
