package camera_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/lenscast/lenscast/agent/camera"
	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/capture"
)

// encoder is a source that follows a bitrate.
type encoder struct {
	script
	mu  sync.Mutex
	set []int
}

func (e *encoder) SetBitrate(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.set = append(e.set, n)
}

// What readers afford reaches the source while the camera runs, within what
// was asked for and what was allowed.
func TestSourceFollowsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New()
		source := &encoder{script: script{runs: []func(context.Context, capture.Sink) error{forever}}}
		c := camera.New(camera.Params{
			Name: "hero", Source: source, Stream: s, Log: slog.New(slog.DiscardHandler), Bitrate: 6_000_000, MinBitrate: 500_000,
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = c.Run(ctx)
		}()
		synctest.Wait()
		reader := s.Subscribe(stream.AtOnce, 10).As(stream.Push, "push")
		defer reader.Close()
		for _, afford := range []int{8_000_000, 2_000_000, 100_000} {
			reader.Afford(afford)
		}
		source.mu.Lock()
		if want := []int{2_000_000, 500_000}; !slices.Equal(source.set, want) {
			t.Errorf("the source was set to %v, want %v", source.set, want)
		}
		source.mu.Unlock()
		cancel()
		<-done
		if st := s.Stats(); st.Asked != 0 {
			t.Errorf("a camera that does not run is said to follow: %+v", st)
		}
	})
}
