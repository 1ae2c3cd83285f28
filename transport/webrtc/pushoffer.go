package webrtc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/lenscast/lenscast/capture/h264"
)

// usualProfile is what every receiver of WebRTC can take (RFC 7742 section
// 6.2), and what many servers know by no other name.
const usualProfile = "42e01f"

// Payload types of an offer, those that browsers use.
const (
	trueType, trueRetransmit   = 106, 107
	usualType, usualRetransmit = 108, 109
)

// offeredFormats returns what is offered for a stream: its own profile first,
// then the usual one, which decoders take for more than it says.
func offeredFormats(f h264.Format) []codec {
	const fmtp = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="
	usual := codec{usualType, fmtp + usualProfile, usualRetransmit}
	own := profileLevelID(f)
	if own == usualProfile {
		return []codec{usual}
	}
	return []codec{{trueType, fmtp + own, trueRetransmit}, usual}
}

// profileLevelID names the profile of a stream as SDP does (RFC 6184 section
// 8.1). The constraint flags are those that receivers compare, which is not
// always what encoders write: Baseline counts as constrained.
func profileLevelID(f h264.Format) string {
	constraints := 0
	switch {
	case f.ProfileIDC == 66:
		constraints = 0xe0
	case f.ProfileIDC == 100 && f.Constraints&0x0c == 0x0c:
		constraints = 0x0c
	}
	return fmt.Sprintf("%02x%02x%02x", f.ProfileIDC, constraints, f.LevelIDC)
}

// awaitFormat waits for the first picture, where there is none yet, and returns
// the format of the stream.
func (p *PusherParams) awaitFormat(ctx context.Context) (h264.Format, error) {
	if f := p.Format(); f != (h264.Format{}) {
		return f, nil
	}
	reader := p.Open()
	defer reader.Close()
	au, err := reader.Next(ctx)
	if err != nil {
		return h264.Format{}, fmt.Errorf("%w: %w", errCameraClosed, err)
	}
	sps, _ := au.ParameterSets()
	if len(sps) == 0 {
		return h264.Format{}, errors.New("the camera's first picture has no sequence parameter set")
	}
	return h264.ParseFormat(sps[0])
}

func pushMedia(formats []codec) (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	for _, c := range formats {
		if err := registerVideo(m, c); err != nil {
			return nil, err
		}
	}
	return m, registerExtensions(m)
}

// makeOffer prepares what pion offers for a WHIP server: it adds what RFC 9725
// section 4.2 demands beyond it, and leaves out the candidates of the second
// component, which is never used. complete says that no more will come.
func makeOffer(text string, complete bool) (*description, error) {
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(text); err != nil {
		return nil, fmt.Errorf("parse offer: %w", err)
	}
	if len(desc.MediaDescriptions) != 1 {
		return nil, fmt.Errorf("offer has %d media sections", len(desc.MediaDescriptions))
	}
	d, m := &description{}, desc.MediaDescriptions[0]
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
		if a.Key == sdp.AttrKeyCandidate && component(a.Value) == "1" {
			d.candidates = append(d.candidates, a.Value)
		}
		return a.Key == sdp.AttrKeyCandidate || a.Key == sdp.AttrKeyEndOfCandidates
	})
	if _, ok := m.Attribute("rtcp-mux-only"); !ok {
		m.WithPropertyAttribute("rtcp-mux-only") // RFC 8858
	}
	if _, ok := desc.Attribute("ice-options"); !ok {
		desc.WithValueAttribute("ice-options", "trickle ice2") // RFC 8840, RFC 8445 section 10
	}
	for _, c := range d.candidates {
		m.WithValueAttribute(sdp.AttrKeyCandidate, c)
	}
	if complete {
		m.WithPropertyAttribute(sdp.AttrKeyEndOfCandidates)
	}
	d.ufrag, d.pwd = credentials(&desc, m)
	d.mid, _ = m.Attribute(sdp.AttrKeyMID)
	d.section = m.MediaName.String()
	out, err := desc.Marshal()
	if err != nil {
		return nil, fmt.Errorf("write offer: %w", err)
	}
	d.sdp = string(out)
	return d, nil
}

// readAnswer checks a server's answer and leaves in it the one format that is
// sent, which is the best for a stream of the given profile.
func readAnswer(text, profile string) (string, error) {
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(text); err != nil {
		return "", fmt.Errorf("the server's answer is no SDP: %w", err)
	}
	if len(desc.MediaDescriptions) != 1 || desc.MediaDescriptions[0].MediaName.Media != "video" {
		return "", errors.New("the server's answer does not fit the offer of one video")
	}
	m := desc.MediaDescriptions[0]
	_, inactive := m.Attribute(sdp.AttrKeyInactive)
	_, sendOnly := m.Attribute(sdp.AttrKeySendOnly)
	if m.MediaName.Port.Value == 0 || inactive || sendOnly {
		return "", errors.New("the server does not take the video")
	}
	chosen, err := chooseCodec(m, profile)
	if err != nil {
		return "", errors.New("the server's answer has no H.264 with packetization-mode 1")
	}
	m.MediaName.Formats = []string{strconv.Itoa(int(chosen.payloadType))}
	if chosen.retransmit != 0 {
		m.MediaName.Formats = append(m.MediaName.Formats, strconv.Itoa(int(chosen.retransmit)))
	}
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
		format, _, _ := strings.Cut(a.Value, " ")
		ofFormat := a.Key == "rtpmap" || a.Key == "fmtp" || a.Key == "rtcp-fb" && format != "*"
		return ofFormat && !slices.Contains(m.MediaName.Formats, format)
	})
	out, err := desc.Marshal()
	if err != nil {
		return "", fmt.Errorf("write answer: %w", err)
	}
	return string(out), nil
}
