package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// pushesPath is where what receivers of pushes need to know is served.
const pushesPath = "/push/"

// sdpPath is the address of the session description of a camera's nth push,
// counted from 1 in the order of the configuration.
func sdpPath(camera string, n int) string {
	return fmt.Sprintf("%s%s/%d.sdp", pushesPath, url.PathEscape(camera), n)
}

// servePush answers GET /push/CAMERA/N.sdp: the session description of a push
// over RTP (RFC 8866), for a player at the address that it goes to.
func (s *supervisor) servePush(w http.ResponseWriter, r *http.Request) {
	camera, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, pushesPath), "/")
	number, ok := strings.CutSuffix(file, ".sdp")
	n, err := strconv.Atoi(number)
	if !ok || err != nil {
		http.NotFound(w, r)
		return
	}
	sdp, err := s.sdp(camera, n)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/sdp")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, sdp) // nobody is left to tell
}

// sdp returns the session description of the nth push of a camera.
func (s *supervisor) sdp(camera string, n int) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	running := s.cameras[camera]
	switch {
	case running == nil:
		return "", fmt.Errorf("there is no camera %q", camera)
	case n < 1 || n > len(running.pushes):
		return "", fmt.Errorf("camera %q has %d pushes, the first is number 1", camera, len(running.pushes))
	case running.pushes[n-1].sdp == nil:
		return "", fmt.Errorf("push %d of camera %q needs no session description, only rtp:// does", n, camera)
	}
	sdp := running.pushes[n-1].sdp()
	if sdp == "" {
		return "", fmt.Errorf("camera %q has given no picture yet, try again when it is live", camera)
	}
	return sdp, nil
}
