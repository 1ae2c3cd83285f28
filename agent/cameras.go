package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/lenscast/lenscast/agent/camera"
	"github.com/lenscast/lenscast/agent/config"
	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/transport/packet"
	"github.com/lenscast/lenscast/transport/webrtc"
)

// viewerQueue is how many pictures may wait for one viewer: 2 s at 30 fps.
const viewerQueue = 60

// runningCamera is a camera with its stream and what it was made of.
type runningCamera struct {
	*part
	cfg    config.Camera
	stream *stream.Stream
	camera *camera.Camera
	pushes []*runningPush

	packetizers *packet.Packetizers // of its pushes
	recorder    *runningRecorder    // nil when it is not recorded
}

func (s *supervisor) startCamera(ctx context.Context, c config.Camera, rtc config.WebRTC) error {
	source, err := newSource(c, s.log.With(logKeyCamera, c.Name))
	if err != nil {
		return fmt.Errorf("camera %q: %w", c.Name, err)
	}
	running := &runningCamera{cfg: c, stream: stream.New()}
	running.camera = camera.New(camera.Params{
		Name: c.Name, Source: source, Stream: running.stream, Log: s.log,
		Bitrate: int(c.Bitrate), MinBitrate: int(c.MinBitrate),
	})
	running.part = startPart(ctx, "camera "+c.Name, running.camera.Run, s.partFailed)
	s.mu.Lock()
	s.cameras[c.Name] = running
	s.mu.Unlock()
	s.startRecorder(ctx, running, s.cfg.Recording)
	return s.startPushes(ctx, running, c.Pushes, rtc)
}

// stopCamera ends a camera with its pushes and, with its stream, the sessions
// of its viewers.
func (s *supervisor) stopCamera(ctx context.Context, name string) error {
	running := s.cameras[name]
	s.mu.Lock()
	delete(s.cameras, name)
	s.mu.Unlock()
	defer running.stream.Close()
	err := errors.Join(s.stopPushes(ctx, running), stopForRestart(ctx, running.part))
	return errors.Join(err, s.stopRecorder(ctx, running))
}

// feed finds the stream of a camera for a new viewer.
func (s *supervisor) feed(name string) (webrtc.Feed, error) {
	s.mu.Lock()
	running := s.cameras[name]
	s.mu.Unlock()
	if running == nil {
		return webrtc.Feed{}, webrtc.ErrUnknownCamera
	}
	stats := running.stream.Stats()
	if stats.Pictures == 0 {
		return webrtc.Feed{}, webrtc.ErrNotLive // its profile is not known yet
	}
	return webrtc.Feed{
		Open: func() webrtc.Reader {
			return running.stream.Subscribe(stream.AtOnce, viewerQueue).As(stream.Viewer, "a viewer")
		},
		Profile: stats.Profile,
	}, nil
}
