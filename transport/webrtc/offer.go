package webrtc

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// Bounds of an offer. Browsers send some 5 KB with 2 or 3 media sections.
const (
	maxSections   = 16
	maxCandidates = 64 // of one offer or fragment
)

// Header extensions that are used when the browser offers them.
const (
	// https://webrtc.googlesource.com/src/+/refs/heads/main/docs/native-code/rtp-hdrext/abs-capture-time
	absCaptureTimeURI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"

	// https://webrtc.googlesource.com/src/+/refs/heads/main/docs/native-code/rtp-hdrext/playout-delay
	playoutDelayURI = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"

	// draft-holmer-rmcat-transport-wide-cc-extensions-01 section 2
	transportCCURI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)

// errNoH264 is wrapped by the errors that say what an offer lacks.
var errNoH264 = errors.New("this browser has no H.264 for WebRTC")

// syntaxError means that a body is no SDP.
type syntaxError struct{ err error }

func (e *syntaxError) Error() string { return "parse SDP: " + e.err.Error() }
func (e *syntaxError) Unwrap() error { return e.err }

// offer is what a session needs to know of a viewer's SDP.
type offer struct {
	sdp   string
	video codec
}

// codec is the H.264 format chosen of those offered.
type codec struct {
	payloadType uint8
	fmtp        string
	retransmit  uint8 // payload type of RTX (RFC 4588) for it, 0 without
}

// parseOffer checks an offer, and chooses the format for a stream of the given
// profile.
func parseOffer(text, profile string) (*offer, error) {
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(text); err != nil {
		return nil, &syntaxError{err}
	}
	if n := len(desc.MediaDescriptions); n > maxSections {
		return nil, fmt.Errorf("offer has %d media sections, at most %d are handled", n, maxSections)
	}
	o := &offer{sdp: text}
	candidates, haveVideo := 0, false
	for _, m := range desc.MediaDescriptions {
		for _, a := range m.Attributes {
			if a.Key == sdp.AttrKeyCandidate {
				candidates++
			}
		}
		if m.MediaName.Media != "video" || haveVideo { // one picture is sent
			continue
		}
		haveVideo = true
		if _, sends := m.Attribute(sdp.AttrKeySendOnly); sends {
			return nil, errors.New("offer wants to send video; a player offers recvonly")
		}
		var err error
		if o.video, err = chooseCodec(m, profile); err != nil {
			return nil, err
		}
	}
	if candidates > maxCandidates {
		return nil, fmt.Errorf("offer has %d candidates, at most %d are handled", candidates, maxCandidates)
	}
	if !haveVideo {
		return nil, errors.New("offer has no video section")
	}
	return o, nil
}

// profileOrder tells which offered profile_idc fits a stream best, by the
// profile's name in h264.Format. Decoders handle more than they announce, so
// another one is better than none; but Safari shows nothing when High comes
// as baseline, which is why an offered High goes first for High.
func profileOrder(profile string) []string {
	switch {
	case strings.Contains(profile, "High"):
		return []string{"64", "4d", "42"}
	case profile == "Main":
		return []string{"4d", "64", "42"}
	}
	return []string{"42", "4d", "64"}
}

// chooseCodec picks the H.264 format of packetization mode 1 that suits the
// stream. Among baseline formats constrained baseline (42e0xx) goes first:
// every browser has that one.
func chooseCodec(m *sdp.MediaDescription, profile string) (codec, error) {
	fmtps := formatParameters(m)
	order := profileOrder(profile)
	best, bestRank := codec{}, -1
	modeZero := false
	for _, format := range m.MediaName.Formats {
		pt, err := strconv.ParseUint(format, 10, 7)
		if err != nil || !isH264(m, format) {
			continue
		}
		params := parseParameters(fmtps[format])
		if params["packetization-mode"] != "1" {
			modeZero = true
			continue
		}
		id := strings.ToLower(params["profile-level-id"])
		rank := 0
		for i, prefix := range order {
			if strings.HasPrefix(id, prefix) {
				rank = 10 * (len(order) - i)
			}
		}
		if strings.HasPrefix(id, "42e0") {
			rank++
		}
		if rank > bestRank {
			best, bestRank = codec{payloadType: uint8(pt), fmtp: fmtps[format]}, rank
		}
	}
	switch {
	case bestRank >= 0:
		best.retransmit = retransmitType(m, fmtps, best.payloadType)
		return best, nil
	case modeZero:
		return codec{}, fmt.Errorf("%w: it offers H.264 only with packetization-mode 0", errNoH264)
	}
	return codec{}, errNoH264
}

// formatParameters returns the a=fmtp values of a media section by format.
func formatParameters(m *sdp.MediaDescription) map[string]string {
	all := make(map[string]string)
	for _, a := range m.Attributes {
		if a.Key == "fmtp" {
			if format, value, ok := strings.Cut(a.Value, " "); ok {
				all[format] = value
			}
		}
	}
	return all
}

// parseParameters splits "a=1;b=2".
func parseParameters(fmtp string) map[string]string {
	params := make(map[string]string)
	for part := range strings.SplitSeq(fmtp, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		params[strings.ToLower(key)] = value
	}
	return params
}

func isH264(m *sdp.MediaDescription, format string) bool {
	return rtpmap(m, format) == "h264/90000"
}

// rtpmap returns the a=rtpmap of a format in lower case.
func rtpmap(m *sdp.MediaDescription, format string) string {
	for _, a := range m.Attributes {
		if a.Key == "rtpmap" {
			if f, value, ok := strings.Cut(a.Value, " "); ok && f == format {
				return strings.ToLower(value)
			}
		}
	}
	return ""
}

func retransmitType(m *sdp.MediaDescription, fmtps map[string]string, of uint8) uint8 {
	for _, format := range m.MediaName.Formats {
		pt, err := strconv.ParseUint(format, 10, 7)
		if err != nil || rtpmap(m, format) != "rtx/90000" {
			continue
		}
		if parseParameters(fmtps[format])["apt"] == strconv.Itoa(int(of)) {
			return uint8(pt)
		}
	}
	return 0
}

// mediaEngine registers just what was chosen, so that the answer can hold
// nothing else: with several formats pion falls back to the first offered one
// when no profile matches exactly.
//
// Opus is there for offers that list audio before video. Audio is never sent,
// but a first section that is rejected takes the transport of a max-bundle
// offer with it: Chromium refuses the whole answer. Every browser has Opus
// (RFC 7874 section 3); the payload type is that of the offer.
func (o *offer) mediaEngine() (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	if err := registerVideo(m, o.video); err != nil {
		return nil, err
	}
	if err := m.RegisterCodec(webrtc.RTPCodecParameters{
		PayloadType:        111, // where the offer has no other number for it
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2},
	}, webrtc.RTPCodecTypeAudio); err != nil {
		return nil, fmt.Errorf("register Opus: %w", err)
	}
	return m, registerExtensions(m)
}

// registerVideo registers a format of H.264 and, if it has one, its RTX.
func registerVideo(m *webrtc.MediaEngine, c codec) error {
	if err := m.RegisterCodec(webrtc.RTPCodecParameters{
		PayloadType: webrtc.PayloadType(c.payloadType),
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeH264, ClockRate: clockRate, SDPFmtpLine: c.fmtp,
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}, {Type: "transport-cc"}},
		},
	}, webrtc.RTPCodecTypeVideo); err != nil {
		return fmt.Errorf("register H.264: %w", err)
	}
	if c.retransmit == 0 {
		return nil
	}
	if err := m.RegisterCodec(webrtc.RTPCodecParameters{
		PayloadType: webrtc.PayloadType(c.retransmit),
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeRTX, ClockRate: clockRate, SDPFmtpLine: fmt.Sprintf("apt=%d", c.payloadType),
		},
	}, webrtc.RTPCodecTypeVideo); err != nil {
		return fmt.Errorf("register RTX: %w", err)
	}
	return nil
}

// registerExtensions registers the header extensions that outgoing knows.
func registerExtensions(m *webrtc.MediaEngine) error {
	for _, uri := range []string{absCaptureTimeURI, playoutDelayURI, transportCCURI} {
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeVideo); err != nil {
			return fmt.Errorf("register header extension %s: %w", uri, err)
		}
	}
	return nil
}
