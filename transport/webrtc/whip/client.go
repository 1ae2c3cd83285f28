// Package whip is the signalling of a WHIP client (RFC 9725): its HTTP
// requests, and what servers mean by their answers. It knows nothing of media.
//
// [Client.Post] makes a [Session] of an offer; the Session trickles
// candidates, restarts ICE and ends. A server that says no does so in a
// [Refusal]. What the RFC demands is kept to; where servers are known to
// differ from it, they are taken as they are.
package whip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	sdpType      = "application/sdp" // exactly: servers compare it as text
	fragmentType = "application/trickle-ice-sdpfrag"

	// dialTimeout bounds connecting. It is short because SYNs are sent again
	// after 1, 3 and 7 s only: a new attempt finds a way that just came back
	// sooner than an old one.
	dialTimeout = 1500 * time.Millisecond

	// postTimeout bounds a POST, redirects included. A server may well
	// gather candidates for a second or two, and one that is stopped answers
	// as soon as it goes on.
	postTimeout = 10 * time.Second

	// patchTimeout bounds PATCH and OPTIONS, without which it works too.
	patchTimeout = 2 * time.Second

	// deleteTimeout bounds DELETE: a server that does not hear it finds out
	// by itself that nobody sends any more.
	deleteTimeout = time.Second

	maxRedirects = 5
	maxAnswer    = 64 << 10 // bytes of a body
)

// Client makes requests to one endpoint. It is safe for concurrent use.
type Client struct {
	endpoint Endpoint
	http     *http.Client
}

// NewClient makes a client. It opens nothing.
func NewClient(e Endpoint) *Client {
	return &Client{endpoint: e, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:       http.ProxyFromEnvironment,
			DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext,
			// A session has 3 requests. None may leave on a connection of
			// a network that is gone.
			DisableKeepAlives:      true,
			TLSHandshakeTimeout:    2 * dialTimeout,
			MaxResponseHeaderBytes: maxAnswer,
		},
	}}
}

// Post offers media and returns the session that the server made of it. The
// error is a [*Refusal] when the server said no.
func (c *Client) Post(ctx context.Context, offer string) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	at := c.endpoint.url
	for range maxRedirects + 1 {
		resp, err := c.do(ctx, http.MethodPost, at, http.Header{"Content-Type": {sdpType}}, offer)
		if err != nil {
			return nil, err
		}
		switch resp.status {
		case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			if at, err = c.redirect(at, resp.header.Get("Location")); err != nil {
				return nil, err
			}
			continue
		case http.StatusCreated:
			return c.newSession(at, resp)
		}
		return nil, resp.refusal(http.MethodPost, c.endpoint.token != "")
	}
	return nil, &Refusal{words: fmt.Sprintf("it redirects more than %d times", maxRedirects)}
}

// Options asks for the ICE servers before anything is offered (RFC 9725
// section 4.6). Few servers tell them here.
func (c *Client) Options(ctx context.Context) ([]ICEServer, error) {
	ctx, cancel := context.WithTimeout(ctx, patchTimeout)
	defer cancel()
	resp, err := c.do(ctx, http.MethodOptions, c.endpoint.url, nil, "")
	if err != nil {
		return nil, err
	}
	if resp.status/100 != 2 {
		return nil, resp.refusal(http.MethodOptions, c.endpoint.token != "")
	}
	return iceServers(resp.header.Values("Link")), nil
}

// redirect returns where a 307 or 308 leads.
func (c *Client) redirect(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	if err != nil || location == "" || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
		return nil, &Refusal{words: "it redirects to nowhere"}
	}
	if c.endpoint.token != "" && !mayCarryToken(from, to) {
		return nil, &Refusal{words: fmt.Sprintf("it redirects to %s://%s, where the token is not sent: write that address if you trust it", to.Scheme, to.Host)}
	}
	return to, nil
}

// response is an answer, read to its end.
type response struct {
	status int
	header http.Header
	body   string
}

// do makes one request, with the token.
func (c *Client) do(ctx context.Context, method string, u *url.URL, header http.Header, body string) (*response, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), strings.NewReader(body))
	if err != nil {
		return nil, errors.New("make request: the address is malformed")
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if c.endpoint.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.endpoint.token)
	}
	req.Header.Set("User-Agent", "lenscast")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, explain(ctx, err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(io.LimitReader(resp.Body, maxAnswer+1)); err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", explain(ctx, err))
	}
	if text.Len() > maxAnswer {
		return nil, fmt.Errorf("the server's answer has more than %d bytes", maxAnswer)
	}
	return &response{resp.StatusCode, resp.Header, text.String()}, nil
}
