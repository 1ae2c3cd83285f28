package stream_test

import (
	"testing"

	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/capture/aac"
)

func TestAudioReaderKeepsTheNewest(t *testing.T) {
	s := stream.New()
	s.PublishAudio(&aac.Frame{}) // for nobody
	r, idle := s.SubscribeAudio(3), s.SubscribeAudio(1)
	defer idle.Close()
	if f := r.Next(); f != nil {
		t.Fatalf("%v waits before anything was published", f)
	}
	frames := make([]*aac.Frame, 5)
	for i := range frames {
		frames[i] = &aac.Frame{}
		s.PublishAudio(frames[i])
	}
	for _, want := range frames[2:] {
		if f := r.Next(); f != want {
			t.Fatalf("%p came, not %p", f, want)
		}
	}
	if f := r.Next(); f != nil || r.Dropped() != 2 {
		t.Errorf("then %v came, %d dropped; want nothing and 2", f, r.Dropped())
	}
	if n := idle.Dropped(); n != 4 {
		t.Errorf("the idle reader dropped %d, want 4", n)
	}
	r.Close()
	r.Close()
	s.PublishAudio(frames[0])
	if f := r.Next(); f != nil {
		t.Error("sound came after Close")
	}
}
