package webrtc

import (
	"github.com/pion/webrtc/v4"
)

// RelayOnly makes a push use relays only, as where no other packet gets
// through.
func RelayOnly(p *PusherParams) { p.policy = webrtc.ICETransportPolicyRelay }

// Interrupt makes a push believe that its server is not heard any more.
func Interrupt(p *Pusher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.session.link.set(false)
}
