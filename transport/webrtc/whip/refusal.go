package whip

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// Refusal is a server that says no. Trying again soon does not help, and costs
// it work.
type Refusal struct {
	Status int // of HTTP, 0 when the answer could not be used

	words      string
	retryAfter time.Duration
}

func (r *Refusal) Error() string { return "the server refuses: " + r.words }

// RetryAfter returns how long the server wants to be left alone, 0 when it
// did not say.
func (r *Refusal) RetryAfter() time.Duration { return r.retryAfter }

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = 10 * time.Minute

// refusal puts an answer into words.
func (r *response) refusal(method string, token bool) *Refusal {
	words := ""
	switch r.status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		words = "it redirects in a way that WHIP forbids: write the address that it names"
		if to := r.header.Get("Location"); to != "" {
			words += ", " + printable(withoutQuery(to))
		}
	case http.StatusBadRequest:
		words = "it does not understand the request"
		if !token {
			words += ", or wants a token"
		}
	case http.StatusUnauthorized:
		words = "it wants a token: set token_file"
		if token {
			words = "it does not accept the token"
		}
	case http.StatusForbidden:
		words = "it forbids it: the token is for something else, or somebody sends there already"
	case http.StatusNotFound:
		words = "there is nothing at this address: check the path"
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		words = "this address takes no " + method + ": is it one of WHIP?"
	case http.StatusNotAcceptable, http.StatusUnsupportedMediaType:
		words = "it can't use what is offered"
	case http.StatusConflict:
		words = "somebody sends there already"
	case http.StatusUnprocessableEntity:
		words = "it can't use the video that is offered"
	case http.StatusTooManyRequests:
		words = "it has too many requests"
	case http.StatusServiceUnavailable:
		words = "it is busy or stopping"
	default:
		words = "it answers something unexpected"
	}
	words += fmt.Sprintf(" (%d", r.status)
	if detail := r.detail(); detail != "" {
		words += ": " + detail
	}
	return &Refusal{Status: r.status, words: words + ")", retryAfter: r.retryAfter()}
}

// detail returns what the server says for people: of problem+json (RFC 9457),
// of the "error" of other JSON, or of plain text.
func (r *response) detail() string {
	mediaType, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	if strings.HasSuffix(mediaType, "json") {
		var body struct{ Title, Detail, Error, Message string }
		if json.Unmarshal([]byte(r.body), &body) != nil {
			return ""
		}
		for _, text := range []string{body.Detail, body.Title, body.Error, body.Message} {
			if text != "" {
				return printable(text)
			}
		}
		return ""
	}
	if mediaType == "text/plain" {
		return printable(r.body)
	}
	return ""
}

// printable makes one short line of what came from the network.
func printable(s string) string {
	const most = 160
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return s
}

func withoutQuery(address string) string {
	address, _, _ = strings.Cut(address, "?")
	return address
}

// retryAfter reads Retry-After (RFC 9110 section 10.2.3): seconds, or a time,
// which is understood by the server's own clock, since a camera's may be off
// by years.
func (r *response) retryAfter() time.Duration {
	text := strings.TrimSpace(r.header.Get("Retry-After"))
	var wait time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if until, err := http.ParseTime(text); err == nil {
		now, err := http.ParseTime(r.header.Get("Date"))
		if err != nil {
			now = time.Now()
		}
		wait = until.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// explain puts an error of the network into words. Those of net/http repeat
// the whole URL, and what may be secret in it.
func explain(ctx context.Context, err error) error {
	var inURL *url.Error
	if errors.As(err, &inURL) {
		err = inURL.Err
	}
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	words := ""
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case errors.As(err, &dns):
		words = fmt.Sprintf("the name %q is not found: check its spelling and the network", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		words = "nobody listens there: start the server, or check the port"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETDOWN):
		words = "no way to that address: check this machine's network"
	case errors.As(err, &certificate):
		words = "its certificate can't be trusted: " + certificate.Err.Error()
	case errors.As(err, &record):
		words = "it does not speak https there: write whip:// instead"
	case isTimeout(err):
		words = "the server does not answer: check the address and the network"
	default:
		return fmt.Errorf("ask the server: %w", err)
	}
	return &explained{words, err}
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// explained shows words in place of an error and wraps it.
type explained struct {
	words string
	error
}

func (e *explained) Error() string { return e.words }
func (e *explained) Unwrap() error { return e.error }
