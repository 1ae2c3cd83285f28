package whip

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// Endpoint is the address of a WHIP server, and the token that it wants. The
// zero Endpoint is none.
type Endpoint struct {
	url   *url.URL
	token string
}

// IsEndpoint tells whether a URL is meant for WHIP, by its scheme.
func IsEndpoint(text string) bool {
	scheme, _, _ := strings.Cut(text, ":")
	switch strings.ToLower(scheme) {
	case "whip", "whips", "http", "https":
		return true
	}
	return false
}

// ParseEndpoint reads a URL: whip:// is http://, whips:// is https://. All of
// it goes to the server, options included.
func ParseEndpoint(text string) (Endpoint, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || !IsEndpoint(text) || u.Hostname() == "" || u.Opaque != "":
		// The error of url.Parse repeats the whole URL, secrets and all.
		return Endpoint{}, errors.New(`write it like "whips://media.example.org/camera/whip"`)
	case u.User != nil:
		return Endpoint{}, errors.New("no user may stand in it, give the push a token instead")
	case u.Fragment != "":
		return Endpoint{}, errors.New("nothing behind # is sent to a server, remove it")
	}
	switch u.Scheme {
	case "whip":
		u.Scheme = "http"
	case "whips":
		u.Scheme = "https"
	}
	return Endpoint{url: u}, nil
}

// WithToken returns e with a bearer token (RFC 6750), sent in every request.
func (e Endpoint) WithToken(token string) (Endpoint, error) {
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Endpoint{}, fmt.Errorf("push %s: the token must have letters, digits or signs, and no spaces", e)
	}
	e.token = token
	return e, nil
}

// longSegment is how many characters a part of a path may have to be shown
// whole: services that put the key of a stream into the path use 32 and more.
// Of those the first shownOfKey are shown, to tell them apart.
const (
	longSegment = 24
	shownOfKey  = 4
)

// String returns the URL without its options, and without most of what looks
// like a key in its path.
func (e Endpoint) String() string {
	if e.url == nil {
		return ""
	}
	segments := strings.Split(e.url.EscapedPath(), "/")
	for i, s := range segments {
		if len(s) > longSegment {
			segments[i] = s[:shownOfKey] + "..."
		}
	}
	return e.url.Scheme + "://" + e.url.Host + strings.Join(segments, "/")
}

// GoString is String, for %#v.
func (e Endpoint) GoString() string { return e.String() }

// mayCarryToken tells whether the token goes along from one URL to another,
// that a redirect or a Location names:
//
//   - to the same host, unless it would leave https for http;
//   - from https to https, whatever the host: the server that says so has the
//     token already, and clusters send their clients around;
//   - to loopback, which nobody else hears.
func mayCarryToken(from, to *url.URL) bool {
	switch {
	case to.Scheme == "https":
		return from.Scheme == "https" || sameHost(from, to)
	case from.Scheme == "https":
		return loopback(to.Hostname()) && loopback(from.Hostname())
	}
	return sameHost(from, to) || loopback(to.Hostname()) && loopback(from.Hostname())
}

// sameHost leaves the port out: another service of one machine is trusted.
func sameHost(a, b *url.URL) bool { return strings.EqualFold(a.Hostname(), b.Hostname()) }

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}
