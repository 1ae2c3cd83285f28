package offload

import (
	"errors"
	"net/http"

	"github.com/lenscast/lenscast/agent/web/answer"
)

// NewHandler returns the handler of these addresses. Who may ask is the business
// of the server that mounts it.
//
//	GET  /api/offload             what waits, in the order in which it is sent
//	POST /api/offload/retry       try everything again, now
//	POST /api/offload/retry/{id}  try one recording again, also a dropped one
//	POST /api/offload/drop/{id}   take it out of the queue; it stays on the disk
func NewHandler(q *Queue) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/offload", func(w http.ResponseWriter, _ *http.Request) {
		answer.JSON(w, http.StatusOK, Listing{q.Items()})
	})
	act := func(pattern string, do func(string) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r.PathValue("id")); err != nil {
				problem(w, err)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
	}
	act("POST /api/offload/retry", q.Retry)
	act("POST /api/offload/retry/{id...}", q.Retry)
	act("POST /api/offload/drop/{id...}", q.Drop)
	return mux
}

// Listing is the answer of GET /api/offload.
type Listing struct {
	Queue []Item `json:"queue"`
}

// problem answers what went wrong.
func problem(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if errors.Is(err, ErrUnknown) {
		status = http.StatusNotFound
	}
	answer.Problem(w, status, err.Error())
}
