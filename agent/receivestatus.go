package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// receiverStatus is the JSON of a receiver's /api/status.
type receiverStatus struct {
	Version     string            `json:"version"`
	Time        time.Time         `json:"time"`
	Connections int               `json:"connections"`
	Transfers   []receivingFile   `json:"transfers"`
	Totals      map[string]uint64 `json:"totals"`
}

type receivingFile struct {
	Agent   string `json:"agent"`
	File    string `json:"file"`
	Remote  string `json:"remote"`
	Size    int64  `json:"size"` // -1: unknown
	Resumed int64  `json:"resumed"`
	Sent    int64  `json:"received"`
	Durable int64  `json:"durable"`
}

// receiverTotals names the totals for JSON and metrics.
func receiverTotals(t filetransfer.Totals) map[string]uint64 {
	return map[string]uint64{
		"connections": t.Connections, "turned_away": t.Turned, "files": t.Files, "had_already": t.Had,
		"refused": t.Refused, "broken": t.Broken, "legacy_files": t.Legacy, "bytes": t.Bytes,
	}
}

// serveReceiverStatus serves status and metrics of r until ctx ends.
func serveReceiverStatus(ctx context.Context, ln net.Listener, r *filetransfer.Receiver) error {
	set := metrics.NewSet()
	set.NewGauge("lenscast_receiver_open_connections", func() float64 { return float64(r.Connections()) })
	set.NewGauge("lenscast_receiver_transfers", func() float64 { return float64(len(r.Transfers())) })
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		set.WritePrometheus(w)
		for name, value := range receiverTotals(r.Totals()) {
			metrics.WriteCounterUint64(w, fmt.Sprintf("lenscast_receiver_%s_total", name), value)
		}
	})
	mux.HandleFunc("GET /api/status", func(w http.ResponseWriter, _ *http.Request) {
		s := receiverStatus{
			Version: readBuild().version, Time: time.Now().UTC(), Connections: r.Connections(),
			Transfers: []receivingFile{}, Totals: receiverTotals(r.Totals()),
		}
		for _, p := range r.Transfers() {
			s.Transfers = append(s.Transfers, receivingFile{p.Agent, p.File, p.Remote, p.Size, p.Resumed, p.Sent, p.Durable})
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s) // fails only when the client has gone
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })() // makes Serve return
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve status: %w", err)
	}
	return nil
}
