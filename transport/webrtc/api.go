package webrtc

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
)

const (
	// ICE timeouts of viewers. A browser's checks come every 2.5 s, also
	// from a background tab; one that has gone without a word is given up
	// after 13 s.
	iceDisconnected = 5 * time.Second
	iceFailed       = 8 * time.Second // after that
	iceKeepalive    = 2 * time.Second

	stunTimeout = time.Second

	// maxDataMessage is announced for the data channel, which carries only
	// the clock.
	maxDataMessage = 1024

	// receiveSize is enough for what a viewer sends: STUN, DTLS and RTCP.
	receiveSize = 1500
)

// settings are those of one session: its part of the shared ports.
func (p *sessionParams) settings(route *route) (webrtc.SettingEngine, error) {
	e := newSettings(route, p.log)
	e.SetICETCPMux(tcpMux{route})
	e.DisableActiveTCP(true)
	e.SetICETimeouts(iceDisconnected, iceFailed, iceKeepalive)
	if err := e.SetAnsweringDTLSRole(webrtc.DTLSRoleServer); err != nil {
		return e, fmt.Errorf("set DTLS role: %w", err)
	}
	if rules := rewriteRules(p.publicAddresses); len(rules) > 0 {
		if err := e.SetICEAddressRewriteRules(rules...); err != nil {
			return e, fmt.Errorf("announce public addresses: %w", err)
		}
	}
	return e, nil
}

// newSettings are those of every peer connection.
func newSettings(route *route, log *slog.Logger) webrtc.SettingEngine {
	e := webrtc.SettingEngine{LoggerFactory: pionLogs{log}}
	e.SetICEUDPMux(udpMux{route})
	e.SetNetworkTypes([]webrtc.NetworkType{
		webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6,
	})
	// The candidates of TCP are those of UDP: ports decides, also about
	// loopback.
	e.SetIncludeLoopbackCandidate(true)
	usable := route.ports.addresses()
	e.SetIPFilter(func(ip net.IP) bool { return contains(usable, ip) })
	// Names in browsers' candidates need no resolving: their checks arrive,
	// and tell the address.
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	e.SetSTUNGatherTimeout(stunTimeout)
	e.SetReceiveMTU(receiveSize)
	e.SetSCTPMaxMessageSize(maxDataMessage)
	// The DTLS server chooses the SRTP profile: AES-GCM is the cheapest
	// where the CPU has AES instructions, CM with SHA1-80 is what every
	// browser has.
	e.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	return e
}

// newAPI has none of pion's interceptors, since outgoing and feedback do what
// they would.
func newAPI(media *webrtc.MediaEngine, settings webrtc.SettingEngine) *webrtc.API {
	return webrtc.NewAPI(
		webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(settings),
		webrtc.WithInterceptorRegistry(&interceptor.Registry{}),
	)
}

func contains(all []netip.Addr, ip net.IP) bool {
	addr, ok := netip.AddrFromSlice(ip)
	return ok && slices.Contains(all, addr.Unmap())
}

// rewriteRules announces public addresses beside the private ones, so that
// viewers on the same network do not depend on the router sending their
// packets back in.
func rewriteRules(public []netip.Addr) []webrtc.ICEAddressRewriteRule {
	if len(public) == 0 {
		return nil
	}
	var external []string
	for _, a := range public {
		external = append(external, a.String())
	}
	return []webrtc.ICEAddressRewriteRule{{
		External: external, AsCandidateType: webrtc.ICECandidateTypeHost, Mode: webrtc.ICEAddressRewriteAppend,
	}}
}
