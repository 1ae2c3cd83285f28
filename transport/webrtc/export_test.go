package webrtc

import (
	"github.com/pion/webrtc/v4"
)

// RelayOnly makes a push use relays only, as where no other packet gets
// through.
func RelayOnly(p *PusherParams) { p.policy = webrtc.ICETransportPolicyRelay }
