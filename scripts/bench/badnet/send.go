package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/lenscast/lenscast/agent/push"
	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/transport/packet"
	"github.com/lenscast/lenscast/transport/udp"
)

const seconds = 10 // of the clip

// encode makes a clip as path.ts, for ffmpeg, and path.h264, for lenscast: the
// same pictures. Noise that stands still makes large keyframes.
func encode(ctx context.Context, path string) error {
	out, err := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-y", "-f", "lavfi",
		"-i", fmt.Sprintf("testsrc2=size=1280x720:rate=%d,noise=alls=8", fps), "-t", fmt.Sprint(seconds), "-pix_fmt", "yuv420p",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0", "-qp", "26",
		"-x264-params", fmt.Sprintf("aud=1:keyint=%d:min-keyint=%d:scenecut=0:repeat-headers=1", fps, fps),
		"-f", "mpegts", path+".ts").CombinedOutput()
	if err == nil {
		out, err = exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-y", "-i", path+".ts", "-c", "copy", "-f", "h264", path+".h264").CombinedOutput()
	}
	if err != nil {
		return fmt.Errorf("encode clip: %w: %s", err, out)
	}
	return nil
}

// describe writes the session description of the clip for a receiver.
func describe(ctx context.Context, path string, port int) error {
	out, err := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-y", "-t", "0.1", "-i", path+".ts", "-an", "-c", "copy",
		"-f", "rtp", "-sdp_file", path+".sdp", fmt.Sprintf("rtp://127.0.0.1:%d", port)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("describe clip: %w: %s", err, out)
	}
	return nil
}

// send pushes a clip in a loop until the process is killed, as the agent does.
func send(ctx context.Context, path, url string) error {
	file, err := os.Open(path + ".h264")
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	aus, err := h264.ReadAll(file)
	if err != nil {
		return fmt.Errorf("read clip: %w", err)
	}
	dest, err := udp.ParseDestination(url)
	if err != nil {
		return err
	}
	s := stream.New("bench")
	pusher, err := udp.New(udp.Params{
		Destination: dest, Clock: &packet.Clock{},
		Open: func() udp.Reader { return s.Subscribe(stream.AtOnce, 120) },
	})
	if err != nil {
		return err
	}
	p := push.New(push.Params{Pusher: pusher, MaxPause: 700 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	go func() { _ = p.Run(ctx) }()
	start := time.Now()
	for i := 0; ctx.Err() == nil; i++ {
		au := *aus[i%len(aus)]
		au.PTS = time.Duration(i) * seconds * time.Second / time.Duration(len(aus))
		au.Captured = start.Add(au.PTS)
		time.Sleep(time.Until(au.Captured))
		s.Publish(&au)
	}
	return ctx.Err()
}
