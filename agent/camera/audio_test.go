package camera_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/lenscast/lenscast/agent/camera"
	"github.com/lenscast/lenscast/capture"
	"github.com/lenscast/lenscast/capture/aac"
)

// The sound keeps its place beside the pictures over restarts of the source,
// whatever its clock then starts with.
func TestSoundMovesWithThePictures(t *testing.T) {
	const behind = 30 * time.Millisecond
	run := func(pts time.Duration) func(context.Context, capture.Sink) error {
		return func(_ context.Context, sink capture.Sink) error {
			audio := sink.(capture.AudioSink)
			sink.Opened(capture.Info{})
			audio.DescribeAudio("AAC")
			audio.WriteAudio(&aac.Frame{PTS: pts}) // beside no picture
			for range 50 {
				deliver(sink, pts, interval)
				audio.WriteAudio(&aac.Frame{PTS: pts + behind})
				pts += interval
			}
			return fmt.Errorf("read: %w", capture.ErrGone)
		}
	}
	src := &script{runs: []func(context.Context, capture.Sink) error{run(time.Hour), run(-time.Minute), run(7 * time.Hour)}}
	start(t, src, func(b *bench) {
		pictures, sound := b.stream.Subscribe(0, 1000), b.stream.SubscribeAudio(1000)
		defer pictures.Close()
		defer sound.Close()
		b.after(20*time.Second, camera.NoDevice, "no device")
		if st := b.camera.Status(); st.Audio != "AAC" {
			t.Errorf("the sound is %q", st.Audio)
		}
		n := 0
		for f := sound.Next(); f != nil; f = sound.Next() {
			au, err := pictures.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if f.PTS != au.PTS+behind {
				t.Fatalf("frame %d is %v behind its picture", n, f.PTS-au.PTS)
			}
			n++
		}
		if n != 150 || pictures.Len() != 0 {
			t.Errorf("%d frames, and %d pictures more; want 150 and none", n, pictures.Len())
		}
	})
}
