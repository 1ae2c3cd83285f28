package whip

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/url"
)

// Session is what a server made of an offer. Its methods are for one
// goroutine.
type Session struct {
	Answer     string      // SDP
	ICEServers []ICEServer // that the server wants to be used

	client *Client
	url    *url.URL // nil when the server told none
	etag   string   // as it came, empty without
}

// ErrUnsupported is returned by Trickle and Restart when the server has no
// such thing, and nothing is lost but that.
var ErrUnsupported = errors.New("the server does not support it")

// newSession reads a 201, the answer to a POST to endpoint.
func (c *Client) newSession(endpoint *url.URL, resp *response) (*Session, error) {
	mediaType, _, err := mime.ParseMediaType(resp.header.Get("Content-Type"))
	s := &Session{Answer: resp.body, ICEServers: iceServers(resp.header.Values("Link")), client: c, etag: resp.header.Get("ETag")}
	if location := resp.header.Get("Location"); location != "" {
		to, err := endpoint.Parse(location)
		if err != nil || to.Host == "" || c.endpoint.token != "" && !mayCarryToken(endpoint, to) {
			return nil, &Refusal{words: "it gives the session an address that can't be used"}
		}
		s.url = to
	}
	// Some servers leave the type out; another one is no answer.
	if resp.body == "" || err == nil && mediaType != sdpType {
		return nil, &Refusal{words: "it answers without SDP: is this a WHIP address?"}
	}
	return s, nil
}

// HasURL tells whether the server told an address for the session. Without
// one it can neither be changed nor ended from here.
func (s *Session) HasURL() bool { return s.url != nil }

// Trickle sends candidates that were found after the offer (RFC 9725 section
// 4.4.1), in the fragment of RFC 8840.
func (s *Session) Trickle(ctx context.Context, fragment string) error {
	resp, err := s.patch(ctx, s.etag, fragment)
	switch {
	case err != nil:
		return err
	case resp.status/100 == 2:
		return nil
	}
	return s.unsupported(resp)
}

// Restart restarts ICE with the credentials of the fragment (RFC 9725 section
// 4.4.2), and returns the server's.
func (s *Session) Restart(ctx context.Context, fragment string) (answer string, err error) {
	// The RFC writes "*" with quotes, HTTP (RFC 9110 section 13.1.1) without:
	// each has servers that compare the text.
	var resp *response
	for _, match := range []string{`"*"`, "*"} {
		if resp, err = s.patch(ctx, match, fragment); err != nil {
			return "", err
		}
		if resp.status != http.StatusPreconditionFailed {
			break
		}
	}
	if resp.status != http.StatusOK || resp.body == "" {
		return "", s.unsupported(resp)
	}
	s.etag = resp.header.Get("ETag")
	return resp.body, nil
}

func (s *Session) patch(ctx context.Context, match, fragment string) (*response, error) {
	if s.url == nil {
		return nil, ErrUnsupported
	}
	ctx, cancel := context.WithTimeout(ctx, patchTimeout)
	defer cancel()
	header := http.Header{"Content-Type": {fragmentType}}
	if match != "" {
		header.Set("If-Match", match)
	}
	return s.client.do(ctx, http.MethodPatch, s.url, header, fragment)
}

// unsupported tells a server that has no use for a PATCH from one that does
// not want it now, or from us. A 404 does not say which it is: some have no
// such resource, others no such session any more.
func (s *Session) unsupported(resp *response) error {
	refusal := resp.refusal(http.MethodPatch, s.client.endpoint.token != "")
	switch resp.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return refusal
	}
	return errors.Join(ErrUnsupported, refusal)
}

// Delete ends the session. It takes at most 1 s, also when ctx has ended.
func (s *Session) Delete(ctx context.Context) error {
	if s.url == nil {
		return ErrUnsupported
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
	defer cancel()
	resp, err := s.client.do(ctx, http.MethodDelete, s.url, nil, "")
	if err != nil {
		return err
	}
	// One that knows no such session, or says so in its own way, is content.
	if resp.status/100 == 2 || resp.status == http.StatusNotFound || resp.status == http.StatusGone {
		return nil
	}
	return resp.refusal(http.MethodDelete, s.client.endpoint.token != "")
}
