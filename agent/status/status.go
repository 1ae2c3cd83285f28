// Package status holds what an agent tells of itself: the JSON of /api/status,
// the metrics for Prometheus, its health, and the notes to systemd.
//
// A [Report] is a snapshot that the command fills in. All else follows from
// it: [Report.Health], [Report.WriteMetrics], and the watchdog of [Notifier].
package status

import (
	"fmt"
	"strings"
	"time"
)

// Report is the body of GET /api/status. Durations are in seconds, rates in
// bit/s.
type Report struct {
	Version string  `json:"version"`
	Started Time    `json:"started"`
	Uptime  float64 `json:"uptime_seconds"`
	Now     Time    `json:"time"`

	Cameras []Camera `json:"cameras"`           // in the order of the configuration
	Viewers []Viewer `json:"viewers"`           // the oldest first
	Pushes  []Push   `json:"pushes"`            // in the order of the configuration
	Offload *Offload `json:"offload,omitempty"` // left out without [offload]

	// Problems are lines for people: what somebody should look after.
	Problems []string `json:"problems"`
}

// Camera is one camera.
type Camera struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	State  string `json:"state"`  // [Live] or in words why there is no picture
	Reason string `json:"reason"` // more words on the state, may be empty
	Since  Time   `json:"since"`  // when the state began
	Mode   string `json:"mode"`   // who makes the H.264: passthrough, hardware, software, clip
	Detail string `json:"detail"` // more words on the mode

	Width       int     `json:"width"`  // pixels, 0 before the first picture
	Height      int     `json:"height"` // pixels
	Profile     string  `json:"profile"`
	FPS         float64 `json:"fps"`
	Bitrate     float64 `json:"bitrate"`
	Asked       float64 `json:"asked_bitrate"`     // 0 when the camera can't follow the network
	Told        float64 `json:"target_bitrate"`    // what its encoder is to make now
	Reduced     string  `json:"reduced,omitempty"` // why that is less than was asked for
	GOP         float64 `json:"gop_seconds"`       // between the last two keyframes
	Pictures    uint64  `json:"pictures"`
	Keyframes   uint64  `json:"keyframes"`
	Restarts    uint64  `json:"restarts"` // of the source
	Lost        uint64  `json:"lost"`     // times that pictures were lost on the way here
	Skipped     uint64  `json:"skipped"`  // pictures left out because this machine was too slow
	Viewers     int     `json:"viewers"`
	LastPicture Time    `json:"last_picture"`
	Recording   string  `json:"recording,omitempty"` // what its recorder does, empty without one

	Stuck bool `json:"-"` // the source can't even be stopped any more
}

// Live is the state of a camera that delivers pictures. In all others it is
// known why it does not.
const Live = "live"

// Recording is the state of a recorder that writes pictures.
const Recording = "recording"

// Sending is the state of a push whose pictures go out.
const Sending = "sending"

// Viewer is one session.
type Viewer struct {
	ID              string  `json:"id"`
	Camera          string  `json:"camera"`
	Remote          string  `json:"remote"`
	Transport       string  `json:"transport"` // udp or tcp
	State           string  `json:"state"`
	Since           float64 `json:"since_seconds"` // the session began so long ago
	Bitrate         float64 `json:"bitrate"`
	PacketsSent     uint64  `json:"packets_sent"`
	PacketsResent   uint64  `json:"packets_resent"`
	NACKs           uint64  `json:"nacks"` // packets asked for again
	PLIs            uint64  `json:"plis"`  // keyframes asked for
	DroppedPictures uint64  `json:"dropped_pictures"`
	RTT             float64 `json:"rtt_seconds"`
	Loss            float64 `json:"loss"`               // share of packets, 0 to 1
	Affordable      float64 `json:"affordable_bitrate"` // what the way there carries, 0 while it was never full
	Note            string  `json:"note,omitempty"`     // that pictures are left out, and why
}

// Push is one [[camera.push]].
type Push struct {
	Camera          string  `json:"camera"`
	Destination     string  `json:"destination"` // without options
	State           string  `json:"state"`       // connecting, listening, sending, no picture, interrupted, waiting
	Since           Time    `json:"since"`       // when the state began
	Reason          string  `json:"reason"`      // why it does not work, empty when it does
	Failures        uint64  `json:"failures"`    // attempts and connections
	Receivers       int     `json:"receivers"`
	Bitrate         float64 `json:"bitrate"`
	PacketsSent     uint64  `json:"packets_sent"`
	DroppedPictures uint64  `json:"dropped_pictures"`
	LastPicture     Time    `json:"last_picture"`       // sent
	RTT             float64 `json:"rtt_seconds"`        // 0 when the receiver reports none
	Loss            float64 `json:"loss"`               // share of packets, 0 to 1
	Affordable      float64 `json:"affordable_bitrate"` // 0 without a known limit
	Note            string  `json:"note,omitempty"`     // that pictures are left out, and why
	ICE             *ICE    `json:"ice,omitempty"`      // of WHIP
	SDP             string  `json:"sdp,omitempty"`      // of RTP: the path of its session description
}

// ICE is how far a push by WHIP has come to its server.
type ICE struct {
	State            string   `json:"state"` // new, checking, connected, disconnected, failed, closed
	Local            string   `json:"local"` // the addresses in use, such as "udp 192.0.2.1:8189 (host)", empty without
	Remote           string   `json:"remote"`
	LocalCandidates  []string `json:"local_candidates"` // that were tried
	RemoteCandidates []string `json:"remote_candidates"`
	Restarts         uint64   `json:"restarts"`
}

// Offload is the queue of recordings that go to a server.
type Offload struct {
	Server  string `json:"server"` // that is in use, or was tried last
	State   string `json:"state"`  // idle, waiting, held, sending, confirmed, retrying, failed
	Reason  string `json:"reason"` // more words on the state, may be empty
	Waiting int    `json:"waiting"`
	Failed  int    `json:"failed"` // of those that wait: somebody has to look after them
	Bytes   int64  `json:"bytes"`  // of those that wait, still to be sent

	Recording string  `json:"recording"` // the ID of the current one, empty without one
	Size      int64   `json:"size"`      // bytes of it
	Sent      int64   `json:"sent"`      // bytes of it
	Percent   float64 `json:"percent"`   // of it
	Bitrate   float64 `json:"bitrate"`
	Left      float64 `json:"left_seconds"` // for all that waits, 0 when unknown
	Limit     string  `json:"limit"`        // what limits the connection, in words

	AllowedRate float64 `json:"allowed_bitrate"` // beside the live picture; 0: any
	Yields      bool    `json:"yields"`          // stands still for the live picture
	YieldReason string  `json:"yield_reason"`

	Recordings  uint64 `json:"recordings_total"` // confirmed since the start
	BytesSent   uint64 `json:"bytes_total"`      // of them
	LastSuccess Time   `json:"last_success"`
}

// Time is a time that is written in UTC with milliseconds, and as null when it
// is zero.
type Time struct{ time.Time }

// MarshalJSON writes "2026-01-02T15:04:05.000Z" or null (RFC 3339).
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(t.UTC().Format(`"2006-01-02T15:04:05.000Z07:00"`)), nil
}

// StallTime is how long a live camera may deliver nothing. It is well above
// the time after which a camera finds out by itself and changes its state.
const StallTime = 10 * time.Second

// Health returns why the agent does not do its work, or nil. A camera without
// a picture is no fault of the agent as long as it knows why: cables get
// pulled. A camera that should be delivering and is not, is.
func (r *Report) Health() error {
	var faults []string
	for _, c := range r.Cameras {
		idle := r.Now.Sub(latest(c.LastPicture.Time, c.Since.Time))
		switch {
		case c.Stuck:
			faults = append(faults, fmt.Sprintf("camera %q can't be stopped", c.Name))
		case c.State == Live && idle > StallTime:
			faults = append(faults, fmt.Sprintf("camera %q has delivered nothing for %.0f s", c.Name, idle.Seconds()))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(faults, "; "))
}

// Summary is the report in one line.
func (r *Report) Summary() string {
	live := 0
	for _, c := range r.Cameras {
		if c.State == Live {
			live++
		}
	}
	line := fmt.Sprintf("%d of %s live, %s", live, count(len(r.Cameras), "camera"), count(len(r.Viewers), "viewer"))
	if len(r.Problems) > 0 {
		line += "; " + r.Problems[0]
	}
	return line
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
