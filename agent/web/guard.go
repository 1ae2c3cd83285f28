package web

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/lenscast/lenscast/agent/web/answer"
)

// contentSecurityPolicy lets the page use its own files and nothing else.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; " +
	"media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

// secureHeaders sets what every answer carries.
//
// The referrer policy is not "no-referrer": with that, browsers send
// "Origin: null" with a form, and our own login page would look foreign.
func secureHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		next.ServeHTTP(w, r)
	})
}

// loopbackHost refuses names that are not loopback's. A browser that was led
// to 127.0.0.1 by a foreign DNS name sends that name (DNS rebinding).
func loopbackHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopbackHost(r.Host) {
			answer.Problem(w, http.StatusMisdirectedRequest,
				"this viewer answers to localhost only; set a viewer password to use it under another name")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLoopbackHost tells whether a Host header names this machine itself:
// localhost and the names below it (RFC 6761), 127.0.0.0/8, ::1.
func isLoopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback()
}

// sameOrigin refuses requests that change something and come from a page of
// another origin (Sec-Fetch-Site, or Origin against Host).
func sameOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := protection.Check(r); err != nil {
			answer.Problem(w, http.StatusForbidden, "this request comes from a page of another site")
			return
		}
		next.ServeHTTP(w, r)
	})
}
