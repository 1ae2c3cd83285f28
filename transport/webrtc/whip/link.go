package whip

import (
	"strings"

	"github.com/pion/stun/v4"
)

// ICEServer is a STUN or TURN server that a WHIP server tells of.
type ICEServer struct {
	URL, Username, Credential string
}

// maxICEServers bounds how many are taken.
const maxICEServers = 8

// iceServers reads Link headers (RFC 8288) with rel="ice-server" (RFC 9725
// section 4.6). Other relations, and what cannot be read, are skipped.
func iceServers(headers []string) []ICEServer {
	var all []ICEServer
	for _, rest := range headers {
		for len(all) < maxICEServers {
			var target string
			var ok bool
			if _, rest, ok = strings.Cut(rest, "<"); !ok {
				break
			}
			if target, rest, ok = strings.Cut(rest, ">"); !ok {
				break
			}
			var params map[string]string
			params, rest = linkParameters(rest)
			if usable(target, params) {
				all = append(all, ICEServer{target, params["username"], params["credential"]})
			}
		}
	}
	return all
}

// usable tells whether a link names an ICE server that pion takes: it refuses
// all because of one.
func usable(target string, params map[string]string) bool {
	uri, err := stun.ParseURI(target)
	if err != nil || !strings.EqualFold(params["rel"], "ice-server") {
		return false
	}
	if kind := params["credential-type"]; kind != "" && !strings.EqualFold(kind, "password") {
		return false
	}
	relay := uri.Scheme == stun.SchemeTypeTURN || uri.Scheme == stun.SchemeTypeTURNS
	return !relay || params["username"] != "" && params["credential"] != ""
}

// linkParameters reads `; name=value; name="value"` up to the comma before
// the next link, and returns what comes after it.
func linkParameters(s string) (params map[string]string, rest string) {
	params = make(map[string]string)
	for {
		s = strings.TrimLeft(s, " \t;")
		if s == "" || s[0] == ',' {
			return params, strings.TrimPrefix(s, ",")
		}
		end := strings.IndexAny(s, "=;,")
		if end < 0 {
			return params, ""
		}
		name := strings.ToLower(strings.TrimSpace(s[:end]))
		if s[end] != '=' {
			s = s[end:] // a parameter without a value
			continue
		}
		value := ""
		value, s = linkValue(strings.TrimLeft(s[end+1:], " \t"))
		if _, twice := params[name]; !twice { // RFC 8288 section 3.3: the first counts
			params[name] = value
		}
	}
}

// linkValue reads a token or a quoted-string (RFC 9110 section 5.6).
func linkValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, ";,")
		if end < 0 {
			end = len(s)
		}
		return strings.TrimSpace(s[:end]), s[end:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			if i++; i == len(s) {
				return b.String(), ""
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}
