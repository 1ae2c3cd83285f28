package webrtc_test

import (
	"context"
	"testing"
)

func TestViewerSeesPictures(t *testing.T) {
	cam := newCamera()
	s, web := startServer(t, cam, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go cam.run(ctx, 5000, 60000, 60)
	for name, o := range map[string]viewerOptions{
		"video only": {}, "audio first": {audioFirst: true}, "tcp": {tcpOnly: true}, "rtx and data": {rtx: true, data: true},
	} {
		t.Run(name, func(t *testing.T) {
			v := watch(t, web, o)
			waitFor(t, "30 pictures", func() bool { n, _ := v.pictures(); return n >= 30 })
			if _, holes := v.pictures(); holes != 0 {
				t.Errorf("%d packets are missing", holes)
			}
			for _, st := range s.Sessions() {
				t.Logf("%+v", st)
			}
		})
	}
}
