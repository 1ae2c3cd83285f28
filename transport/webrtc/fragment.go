package webrtc

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"
)

// fragment is an application/trickle-ice-sdpfrag (RFC 8840 section 9).
type fragment struct {
	ufrag, pwd string // empty when it has none
	candidates []candidate
}

// candidate is one a=candidate of a fragment.
type candidate struct {
	value string // without "candidate:"
	mid   string
}

// parseFragment reads the body of a PATCH. Unknown lines are skipped, as the
// RFC wants.
func parseFragment(body string) (*fragment, error) {
	f := &fragment{}
	mid := ""
	for line := range strings.Lines(body) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		if len(line) < 2 || line[1] != '=' {
			return nil, fmt.Errorf("parse SDP fragment: line %.40q is not of the form x=value", line)
		}
		if line[0] == 'm' {
			mid = ""
		}
		if line[0] != 'a' {
			continue
		}
		key, value, _ := strings.Cut(line[2:], ":")
		switch key {
		case "ice-ufrag":
			f.ufrag = value
		case "ice-pwd":
			f.pwd = value
		case "mid":
			mid = value
		case "candidate":
			if len(f.candidates) == maxCandidates {
				return nil, fmt.Errorf("parse SDP fragment: more than %d candidates", maxCandidates)
			}
			if _, err := ice.UnmarshalCandidate(value); err != nil {
				return nil, fmt.Errorf("parse SDP fragment: candidate %.80q: %w", value, err)
			}
			f.candidates = append(f.candidates, candidate{value, mid})
		}
	}
	if (f.ufrag == "") != (f.pwd == "") {
		return nil, errors.New("parse SDP fragment: ice-ufrag and ice-pwd only come together")
	}
	if f.ufrag != "" && (!iceChars(f.ufrag, 4) || !iceChars(f.pwd, 22)) {
		return nil, errors.New("parse SDP fragment: ice-ufrag or ice-pwd is not valid")
	}
	return f, nil
}

// iceChars checks an ice-char string (RFC 8839 section 5.4) of least to 256
// characters.
func iceChars(s string, least int) bool {
	for _, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '+' && c != '/' {
			return false
		}
	}
	return len(s) >= least && len(s) <= 256
}

// restarted returns a remote description as it would be after the ICE restart
// that f tells of: other credentials, and none of the candidates of before.
func restarted(text string, f *fragment) (string, error) {
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(text); err != nil {
		return "", fmt.Errorf("parse SDP: %w", err)
	}
	desc.Attributes = withCredentials(desc.Attributes, f)
	for _, m := range desc.MediaDescriptions {
		m.Attributes = withCredentials(m.Attributes, f)
	}
	out, err := desc.Marshal()
	if err != nil {
		return "", fmt.Errorf("write SDP: %w", err)
	}
	return string(out), nil
}

// withCredentials replaces credentials where there are any, and drops the
// candidates of before.
func withCredentials(attrs []sdp.Attribute, f *fragment) []sdp.Attribute {
	var out []sdp.Attribute
	for _, a := range attrs {
		switch a.Key {
		case "ice-ufrag":
			a.Value = f.ufrag
		case "ice-pwd":
			a.Value = f.pwd
		case sdp.AttrKeyCandidate, sdp.AttrKeyEndOfCandidates:
			continue
		}
		out = append(out, a)
	}
	return out
}
