package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/lenscast/lenscast/agent/camera"
	"github.com/lenscast/lenscast/agent/offload"
	"github.com/lenscast/lenscast/agent/push"
	"github.com/lenscast/lenscast/agent/recording"
	"github.com/lenscast/lenscast/agent/status"
	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/transport/webrtc"
)

// report takes a snapshot of everything. It may be called by any goroutine.
func (s *supervisor) report() *status.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	r := &status.Report{
		Version:  s.version,
		Started:  status.Time{Time: s.started},
		Uptime:   now.Sub(s.started).Seconds(),
		Now:      status.Time{Time: now},
		Cameras:  []status.Camera{},
		Viewers:  []status.Viewer{},
		Pushes:   []status.Push{},
		Problems: append([]string{}, s.problems...),
	}
	if s.diskMissing != "" {
		r.Problems = append(r.Problems, s.diskMissing)
	}
	viewers := make(map[string]int)
	if s.rtc != nil {
		for _, v := range s.rtc.server.Sessions() {
			viewers[v.Camera]++
			has := 0.0
			if c := s.cameras[v.Camera]; c != nil {
				has = c.stream.Stats().Bitrate
			}
			r.Viewers = append(r.Viewers, viewerStatus(v, has, now))
		}
	}
	for _, c := range s.cfg.Cameras {
		running := s.cameras[c.Name]
		if running == nil {
			continue // between its end and its start
		}
		cs := cameraStatus(running, viewers[c.Name])
		r.Cameras = append(r.Cameras, cs)
		if p := cameraProblem(cs); p != "" {
			r.Problems = append(r.Problems, p)
		}
		if running.recorder != nil {
			st := running.recorder.recorder.Status()
			r.Cameras[len(r.Cameras)-1].Recording = string(st.State)
			if st.State == recording.Full || st.State == recording.Failed {
				r.Problems = append(r.Problems, fmt.Sprintf("camera %q is not recorded: %s", c.Name, st.Reason))
			}
		}
		for i, p := range running.pushes {
			ps := pushStatus(p.push.Status(), cs.Bitrate)
			if p.sdp != nil {
				ps.SDP = sdpPath(c.Name, i+1)
			}
			if p.ice != nil {
				ps.ICE = iceStatus(p.ice())
			}
			r.Pushes = append(r.Pushes, ps)
			if ps.Reason != "" {
				r.Problems = append(r.Problems, fmt.Sprintf("camera %q: %s", ps.Camera, ps.Reason))
			}
		}
	}
	if s.offload != nil {
		st := s.offload.queue.Status()
		r.Offload = offloadStatus(st)
		if st.Problem != "" {
			r.Problems = append(r.Problems, st.Problem)
		}
	}
	return r
}

func cameraStatus(c *runningCamera, viewers int) status.Camera {
	st, flow := c.camera.Status(), c.stream.Stats()
	if st.Audio != "" {
		st.Detail += "; " + st.Audio
	}
	return status.Camera{
		Name:        c.cfg.Name,
		Source:      string(c.cfg.Source),
		State:       string(st.State),
		Reason:      st.Reason,
		Since:       status.Time{Time: st.Since},
		Mode:        string(st.Mode),
		Detail:      st.Detail,
		Width:       flow.Width,
		Height:      flow.Height,
		Profile:     flow.Profile,
		FPS:         flow.FPS,
		Bitrate:     flow.Bitrate,
		GOP:         flow.GOP.Seconds(),
		Pictures:    flow.Pictures,
		Keyframes:   flow.Keyframes,
		Restarts:    st.Restarts,
		Lost:        st.Lost,
		Skipped:     st.Skipped,
		Asked:       float64(flow.Asked),
		Told:        float64(flow.Told),
		Reduced:     reduction(flow),
		Viewers:     viewers,
		LastPicture: status.Time{Time: st.LastPicture},
		Stuck:       st.Stuck,
	}
}

// cameraProblem is what somebody should look after at a camera, if anything.
// A pulled cable is not: whoever pulled it knows.
func cameraProblem(c status.Camera) string {
	switch {
	case c.Stuck:
		return fmt.Sprintf("camera %q can't be stopped, restart lenscast", c.Name)
	case c.State == string(camera.Failed), c.State == string(camera.Unsupported):
		return fmt.Sprintf("camera %q: %s", c.Name, cmp.Or(c.Reason, c.State))
	}
	return ""
}

func viewerStatus(v webrtc.SessionStatus, has float64, now time.Time) status.Viewer {
	return status.Viewer{
		ID:              v.ID,
		Camera:          v.Camera,
		Remote:          v.Remote,
		Transport:       v.Transport,
		State:           v.State,
		Since:           now.Sub(v.Since).Seconds(),
		Bitrate:         v.Bitrate,
		PacketsSent:     v.PacketsSent,
		PacketsResent:   v.PacketsResent,
		NACKs:           v.NACKs,
		PLIs:            v.PLIs,
		DroppedPictures: v.DroppedPictures,
		RTT:             v.RTT.Seconds(),
		Loss:            v.Loss,
		Affordable:      float64(v.Affordable),
		Note:            leftOut(v.LeavesOut, v.Affordable, has),
	}
}

// reduction says that a camera makes less than was asked for, and why; empty
// when it does not.
func reduction(flow stream.Stats) string {
	if flow.LimitedBy == "" || float64(flow.Told) > worthSaying*float64(flow.Asked) {
		return ""
	}
	return fmt.Sprintf("reduced to %s by %s", megabits(float64(flow.Told)), flow.LimitedBy)
}

// worthSaying is the share of the bitrate that was asked for below which it
// counts as reduced.
const worthSaying = 0.9

// leftOut says that somebody gets part of the pictures, and why; empty when all
// are sent. has is what the camera has, in bit/s.
func leftOut(leavesOut bool, affordable int, has float64) string {
	if !leavesOut || affordable == 0 {
		return ""
	}
	return fmt.Sprintf("the network carries %s of %s: pictures are left out", megabits(float64(affordable)), megabits(has))
}

func megabits(bitsPerSecond float64) string { return fmt.Sprintf("%.1f Mbit/s", bitsPerSecond/1e6) }

func pushStatus(p push.Status, has float64) status.Push {
	return status.Push{
		Camera:          p.Camera,
		Destination:     p.Destination,
		State:           string(p.State),
		Since:           status.Time{Time: p.Since},
		Reason:          p.Reason,
		Failures:        p.Failures,
		Receivers:       p.Receivers,
		Bitrate:         p.Bitrate,
		PacketsSent:     p.Packets,
		DroppedPictures: p.DroppedPictures,
		LastPicture:     status.Time{Time: p.LastPicture},
		RTT:             p.Feedback.RTT.Seconds(),
		Loss:            p.Feedback.Loss,
		Affordable:      float64(p.Feedback.Affordable),
		Note:            leftOut(p.Feedback.LeavesOut, p.Feedback.Affordable, has),
	}
}

func offloadStatus(st offload.Status) *status.Offload {
	o := &status.Offload{
		Server: st.Server, State: string(st.State), Reason: st.Reason,
		Waiting: st.Waiting, Failed: st.Failed, Bytes: st.Bytes,
		Recording: st.Recording, Size: st.Size, Sent: st.Sent, Bitrate: st.Rate, Left: st.Left.Seconds(), Limit: st.Limit,
		AllowedRate: float64(st.Yield.Rate), Yields: st.Yield.Paused, YieldReason: st.Yield.Reason,
		Recordings: st.Recordings, BytesSent: st.BytesSent, LastSuccess: status.Time{Time: st.LastSuccess},
	}
	if st.Size > 0 {
		o.Percent = 100 * float64(st.Sent) / float64(st.Size)
	}
	return o
}

func iceStatus(ice webrtc.ICEStatus) *status.ICE {
	return &status.ICE{
		State:            ice.State,
		Local:            ice.Local,
		Remote:           ice.Remote,
		LocalCandidates:  append([]string{}, ice.LocalCandidates...),
		RemoteCandidates: append([]string{}, ice.RemoteCandidates...),
		Restarts:         ice.Restarts,
	}
}

// stateDir is where small files are kept over restarts: what systemd gives
// (StateDirectory=), or else a folder of the user. Empty when there is none.
func stateDir() string {
	if dirs := filepath.SplitList(os.Getenv("STATE_DIRECTORY")); len(dirs) > 0 {
		return dirs[0]
	}
	if dir, err := os.UserCacheDir(); err == nil {
		return filepath.Join(dir, "lenscast")
	}
	return ""
}
