// Package webrtc sends cameras' pictures by WebRTC: to browsers, as a WHEP
// server (draft-ietf-wish-whep), and to a server, as a WHIP client (RFC 9725).
//
// [NewServer] makes a [Server], [Server.Run] opens its ports and serves until
// its context ends, and the Server itself is the [net/http.Handler] of
// /whep/{camera} and of the session URLs below it. [ServerParams].Camera tells
// it which cameras there are; a [Feed] opens a [Reader] of access units for
// each viewer. [Server.Sessions] tells who watches.
//
// [NewPusher] makes a [Pusher], whose Run keeps one session with one WHIP
// server for as long as it can. The signalling differs, the sender that works
// behind it is the same.
//
// What one viewer costs is kept small on purpose: a picture is cut into RTP
// payloads once for all viewers, each viewer adds only its header and its
// encryption, and a group of packets leaves in one system call.
package webrtc

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

// Reader is where a session takes its pictures from; *stream.Reader is one.
//
// The first picture is an IDR, and there is no hole between two IDRs: when
// the reader has to drop, it drops everything up to the next IDR.
type Reader interface {
	// Next returns the next picture, waiting for it until ctx ends.
	Next(ctx context.Context) (*h264.AccessUnit, error)

	// Len returns how many pictures Next would return without waiting.
	Len() int

	// RequestKeyframe asks the source for an IDR. It never blocks, and may
	// be called from another goroutine than Next.
	RequestKeyframe()

	// Afford tells what the way to the other end carries in bit/s, 0 when
	// there is no known limit. It never blocks, and may be called from
	// another goroutine than Next.
	Afford(bitsPerSecond int)

	// Close ends the reader; a Next that waits returns an error.
	Close()
}

// Feed is a camera as a new session sees it.
type Feed struct {
	// Open makes a reader that starts at once: at a cached IDR, or at one
	// it has asked for. The session closes it. If the reader also has a
	// method Dropped() uint64, or Late() bool, the session's status shows
	// what they tell.
	Open func() Reader

	// Profile is the H.264 profile of the newest picture as [h264.Format]
	// names it, such as "High". Empty means not known yet: constrained
	// baseline is announced then.
	Profile string
}

// What ServerParams.Camera may answer. The handler turns them into status 404,
// and into 409 with Retry-After.
var (
	ErrUnknownCamera = errors.New("no such camera")
	ErrNotLive       = errors.New("camera is not live")
)

// ICEServer is a STUN or TURN server, for this end and, by Link headers, for
// the browsers.
type ICEServer struct {
	URL        string // "stun:host:port", "turn:host:port?transport=udp", "turns:..."
	Username   string // of TURN
	Credential string // of TURN
}

// ServerParams are the parameters of NewServer.
type ServerParams struct {
	// Listen is the host:port for media: UDP, and TCP for viewers whose
	// network lets no UDP through. An empty host means all addresses.
	// Port 0 lets the system choose.
	Listen string

	// PublicAddresses are announced instead of the private addresses, for an
	// agent behind a router that forwards the port.
	PublicAddresses []netip.Addr

	ICEServers  []ICEServer
	MaxSessions int // 0 means 100

	// Camera looks a camera up. An unplugged camera may well have a Feed:
	// its viewers then stay connected and see it come back. Only return
	// ErrNotLive if viewers should go away and try again.
	Camera func(name string) (Feed, error)

	Log *slog.Logger // nil means no log
}

// SessionStatus is what is known of one viewer.
type SessionStatus struct {
	ID        string // for people and logs; not the secret of the session URL
	Camera    string
	Remote    string // address of the browser, empty until connected
	Transport string // "udp" or "tcp", empty until connected
	State     string // "connecting", "live", "waiting" (no picture comes), "interrupted" (the viewer does not answer)
	Since     time.Time

	Bitrate         float64 // bit/s of RTP payload over the last second
	PacketsSent     uint64  // resent ones not counted
	PacketsResent   uint64
	NACKs           uint64 // packets the viewer asked for again
	PLIs            uint64 // keyframes it asked for, FIR included
	DroppedPictures uint64
	RTT             time.Duration // from receiver reports, 0 before the first
	Loss            float64       // share of packets lost, 0 to 1, of the last report
	Affordable      int           // bit/s that the way there carries, 0 while it was never seen to be full
	LeavesOut       bool          // pictures are left out because that is too little
}
