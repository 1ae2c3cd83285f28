// Package answer writes the answers of the HTTP API: JSON, and problem details
// (RFC 9457) when something went wrong.
package answer

import (
	"encoding/json"
	"net/http"
)

// JSON answers with v.
func JSON(w http.ResponseWriter, status int, v any) { write(w, status, "application/json", v) }

// Problem answers with what went wrong, for people.
func Problem(w http.ResponseWriter, status int, detail string) {
	write(w, status, "application/problem+json", map[string]any{
		"title": http.StatusText(status), "status": status, "detail": detail,
	})
}

func write(w http.ResponseWriter, status int, kind string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "the answer could not be written: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(body, '\n')) //nolint:errcheck // nobody is left to tell
}
