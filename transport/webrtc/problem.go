package webrtc

import (
	"encoding/json"
	"net/http"
)

// problem is the body of an error (RFC 9457). Type and Title are stable: the
// page tells cases apart by Type.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// The problems that a WHEP client may meet.
var (
	problemUnknownCamera  = problem{"urn:lenscast:unknown-camera", "there is no camera of this name", http.StatusNotFound, ""}
	problemUnknownSession = problem{"urn:lenscast:unknown-session", "this session has ended", http.StatusNotFound, ""}
	problemNotFound       = problem{"urn:lenscast:not-found", "there is nothing here; POST an offer to /whep/{camera}", http.StatusNotFound, ""}
	problemNotLive        = problem{"urn:lenscast:not-live", "the camera is not live", http.StatusConflict, ""}
	problemNoH264         = problem{"urn:lenscast:no-h264", "this browser has no H.264 for WebRTC", http.StatusUnprocessableEntity, ""}
	problemBadOffer       = problem{"urn:lenscast:bad-offer", "the offer cannot be answered", http.StatusUnprocessableEntity, ""}
	problemBadSDP         = problem{"urn:lenscast:bad-sdp", "the body is not valid SDP", http.StatusBadRequest, ""}
	problemTooLarge       = problem{"urn:lenscast:too-large", "the body is too large", http.StatusRequestEntityTooLarge, ""}
	problemMediaType      = problem{"urn:lenscast:media-type", "the Content-Type is not supported", http.StatusUnsupportedMediaType, ""}
	problemMethod         = problem{"urn:lenscast:method", "the method is not allowed here", http.StatusMethodNotAllowed, ""}
	problemPrecondition   = problem{"urn:lenscast:if-match-missing", "PATCH needs If-Match", http.StatusPreconditionRequired, ""}
	problemStale          = problem{"urn:lenscast:if-match-stale", "If-Match is not that of the current ICE session", http.StatusPreconditionFailed, ""}
	problemRestart        = problem{"urn:lenscast:restart-failed", "ICE could not be restarted", http.StatusUnprocessableEntity, ""}
	problemFull           = problem{"urn:lenscast:too-many-viewers", "there are too many viewers already", http.StatusServiceUnavailable, ""}
	problemNotRunning     = problem{"urn:lenscast:not-running", "the agent is starting or stopping", http.StatusServiceUnavailable, ""}
)

// because returns p with err as its detail.
func (p problem) because(err error) problem {
	p.Detail = err.Error()
	return p
}

func (p problem) write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil { // strings and a number always marshal
		body = nil
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // the client may have gone
}
