package webrtc

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// description is the local description as it goes to the other end.
type description struct {
	sdp        string
	ufrag, pwd string
	candidates []string // values of a=candidate
	mid        string   // of the section that carries the candidates
	section    string   // its m= line, without "m="
}

// makeAnswer prepares what pion answered for browsers and checks that it says
// what was meant: video of the chosen format, sent only.
//
// pion puts the candidates on the first section even when that one was
// rejected, where browsers ignore them: an offer with audio first, but without
// Opus, would never connect. They are moved to the first accepted section, and
// those of the second component, which rtcp-mux leaves without use, are left
// out.
func makeAnswer(text string, video codec) (*description, error) {
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(text); err != nil {
		return nil, fmt.Errorf("parse answer: %w", err)
	}
	a := &description{}
	var first *sdp.MediaDescription
	accepted := false
	for _, m := range desc.MediaDescriptions {
		var rest []sdp.Attribute
		for _, attr := range m.Attributes {
			switch attr.Key {
			case sdp.AttrKeyCandidate:
				if component(attr.Value) == "1" {
					a.candidates = append(a.candidates, attr.Value)
				}
			case sdp.AttrKeyEndOfCandidates:
			default:
				rest = append(rest, attr)
			}
		}
		m.Attributes = rest
		if m.MediaName.Port.Value == 0 {
			continue
		}
		if first == nil {
			first = m
		}
		if m.MediaName.Media == "video" && m.MediaName.Formats[0] == strconv.Itoa(int(video.payloadType)) {
			_, accepted = m.Attribute(sdp.AttrKeySendOnly)
		}
	}
	if !accepted {
		return nil, errors.New("offer cannot be answered with video: its video section is inactive or not bundled")
	}
	for _, c := range a.candidates {
		first.WithValueAttribute(sdp.AttrKeyCandidate, c)
	}
	first.WithPropertyAttribute(sdp.AttrKeyEndOfCandidates)

	a.ufrag, a.pwd = credentials(&desc, first)
	a.mid, _ = first.Attribute(sdp.AttrKeyMID)
	a.section = first.MediaName.String()
	out, err := desc.Marshal()
	if err != nil {
		return nil, fmt.Errorf("write answer: %w", err)
	}
	a.sdp = string(out)
	return a, nil
}

// component returns the component-id of a candidate (RFC 8839 section 5.1).
func component(candidate string) string {
	fields := strings.Fields(candidate)
	if len(fields) < 2 {
		return ""
	}
	return fields[1]
}

// credentials returns the ICE credentials of a section, or of the session.
func credentials(desc *sdp.SessionDescription, m *sdp.MediaDescription) (ufrag, pwd string) {
	for _, get := range []func(string) (string, bool){m.Attribute, desc.Attribute} {
		u, haveU := get("ice-ufrag")
		p, haveP := get("ice-pwd")
		if haveU && haveP {
			return u, p
		}
	}
	return "", ""
}

// fragment returns what an ICE restart changes of the description, and what
// trickling adds to it (RFC 8840 section 9), with the given candidates, which
// are the last ones.
func (d *description) fragment(candidates []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\nm=%s\r\n", d.ufrag, d.pwd, d.section)
	if d.mid != "" {
		fmt.Fprintf(&b, "a=mid:%s\r\n", d.mid)
	}
	for _, c := range candidates {
		fmt.Fprintf(&b, "a=candidate:%s\r\n", c)
	}
	b.WriteString("a=end-of-candidates\r\n")
	return b.String()
}
