package answer

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		answer func(http.ResponseWriter)
		status int
		kind   string
		body   string
	}{
		{func(w http.ResponseWriter) { JSON(w, http.StatusOK, []int{1}) }, 200, "application/json", "[1]\n"},
		{func(w http.ResponseWriter) { Problem(w, http.StatusNotFound, "gone") }, 404, "application/problem+json", `{"detail":"gone","status":404,"title":"Not Found"}` + "\n"},
		{func(w http.ResponseWriter) { JSON(w, http.StatusOK, func() {}) }, 500, "text/plain; charset=utf-8", "the answer could not be written: json: unsupported type: func()\n"},
	} {
		w := httptest.NewRecorder()
		c.answer(w)
		if w.Code != c.status || w.Header().Get("Content-Type") != c.kind || w.Body.String() != c.body {
			t.Errorf("%d %s %s, want %d %s %s", w.Code, w.Header().Get("Content-Type"), w.Body, c.status, c.kind, c.body)
		}
	}
}
