package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/transport/packet"
	"github.com/lenscast/lenscast/transport/udp"
)

// encode makes a clip of ten seconds as path.ts, for ffmpeg, and path.h264, for
// lenscast: the same pictures.
func encode(ctx context.Context, path, source string, fps, bitrate int) error {
	x264 := fmt.Sprintf("aud=1:keyint=%d:min-keyint=%d:scenecut=0:repeat-headers=1", fps, fps)
	err := ffmpeg(ctx, "-f", "lavfi", "-i", fmt.Sprintf("%s:rate=%d", source, fps), "-t", "10", "-pix_fmt", "yuv420p",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0",
		"-b:v", fmt.Sprint(bitrate), "-x264-params", x264, "-f", "mpegts", path+".ts")
	if err != nil {
		return err
	}
	return ffmpeg(ctx, "-i", path+".ts", "-c", "copy", "-f", "h264", path+".h264")
}

func ffmpeg(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ffmpeg", append([]string{"-v", "error", "-y"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ffmpeg: %w: %s", err, out)
	}
	return nil
}

// ffmpegSender is what people use to send a stream as it is.
func ffmpegSender(ctx context.Context, path, format, url string) *exec.Cmd {
	return exec.CommandContext(ctx, "ffmpeg", "-v", "quiet", "-re", "-stream_loop", "-1", "-i", path+".ts", "-an", "-c", "copy", "-f", format, url)
}

// lenscastSender is this program as a sender.
func lenscastSender(ctx context.Context, path string, urls ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"-send", path}, urls...)...)
	cmd.Stderr = os.Stderr
	return cmd
}

// send pushes a clip in a loop until the process is killed: through the same
// stream and pushers as in the agent.
func send(ctx context.Context, path string, urls []string) error {
	file, err := os.Open(path + ".h264")
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	aus, err := h264.ReadAll(file)
	if err != nil {
		return fmt.Errorf("read clip: %w", err)
	}
	frame := 10 * time.Second / time.Duration(len(aus))
	s := stream.New("bench")
	clock := &packet.Clock{}
	for _, url := range urls {
		dest, err := udp.ParseDestination(url)
		if err != nil {
			return err
		}
		pusher, err := udp.New(udp.Params{
			Destination: dest, Clock: clock,
			Open: func() udp.Reader { return s.Subscribe(stream.AtOnce, 120) },
		})
		if err != nil {
			return err
		}
		go func() {
			for ctx.Err() == nil {
				_ = pusher.Run(ctx, func(int) {}) // until its receiver is there
				time.Sleep(100 * time.Millisecond)
			}
		}()
	}
	start := time.Now()
	for i := 0; ctx.Err() == nil; i++ {
		au := *aus[i%len(aus)]
		au.PTS = time.Duration(i) * frame
		au.Captured = start.Add(au.PTS)
		time.Sleep(time.Until(au.Captured))
		s.Publish(&au)
	}
	return ctx.Err()
}
