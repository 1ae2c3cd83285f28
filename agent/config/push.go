package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Push is one [[camera.push]] table: where the stream of its camera goes
// besides to viewers.
type Push struct {
	URL   PushURL `toml:"url"`
	Token Secret  `toml:"token"` // or passphrase: what the other end wants to hear
}

// PushURL is where to push to, and how. The path and the options behind "?" may
// hold a secret, which String and MarshalText leave out.
type PushURL struct{ text string }

// UnmarshalText takes any URL with a scheme: what each one allows is known to
// those who send.
func (p *PushURL) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	if err != nil || u.Scheme == "" || u.Host == "" {
		// Neither the text nor the error is shown: a passphrase may be in it.
		return fmt.Errorf("it is not a URL, write it like %s", p.example())
	}
	*p = PushURL{string(text)}
	return nil
}

// Reveal returns the URL as it was written.
func (p PushURL) Reveal() string { return p.text }

// longSegment is how many characters a part of a path may have before it is
// taken for a key: services that put one there use 32 and more.
const longSegment = 24

// String returns the URL with "redacted" in place of secrets.
func (p PushURL) String() string {
	head, query, ok := strings.Cut(p.text, "?")
	segments := strings.Split(head, "/")
	for i := 3; i < len(segments); i++ { // behind scheme://host
		if len(segments[i]) > longSegment {
			segments[i] = redacted
		}
	}
	head = strings.Join(segments, "/")
	if !ok {
		return head
	}
	options := strings.Split(query, "&")
	for i, option := range options {
		if name, _, _ := strings.Cut(option, "="); secretWords.MatchString(name) {
			options[i] = name + "=" + redacted
		}
	}
	return head + "?" + strings.Join(options, "&")
}

// GoString is String, for %#v.
func (p PushURL) GoString() string { return p.String() }

// MarshalText is String.
func (p PushURL) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// unencrypted tells whether HTTP leaves this machine without TLS.
func (p PushURL) unencrypted() bool {
	u, err := url.Parse(p.text)
	if err != nil || u.Scheme != "whip" && u.Scheme != "http" {
		return false
	}
	return !(Address{Host: u.Hostname()}).Loopback()
}

func (PushURL) example() string { return `"udp://192.0.2.10:5000"` }

func (c *Camera) checkPushes(r *report, path string) {
	for i, push := range c.Pushes {
		path := element(path+".push", i)
		key := path + ".url"
		switch {
		case push.URL == (PushURL{}):
			if !r.has(key) {
				r.problem(path, "the push has no address, add: url = %s", push.URL.example())
			}
		case slices.ContainsFunc(c.Pushes[:i], func(other Push) bool { return other.URL == push.URL }):
			r.problem(key, "this camera is pushed there already, remove one of the two")
		case push.URL.String() != push.URL.text && r.open:
			r.warning(key, `other users can read the secret in it, run: chmod 600 %s`, r.file)
		}
		if r.checks.Push != nil && !r.wrongBelow(path) {
			if err := r.checks.Push(c, i); err != nil {
				r.problem(key, "%s", err)
			}
		}
		if push.Token.IsSet() && push.URL.unencrypted() {
			r.warning(key, `the token crosses the network unencrypted, use whips:// if the server can`)
		}
	}
}
