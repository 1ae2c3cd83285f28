package progress

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

func TestJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := New(&out, false)
		for i := range 100 { // 10 s at 1 MB/s
			d.Show([]filetransfer.Progress{{File: "a.mp4", Size: 1e7, Sent: int64(i+1) * 1e5}})
			time.Sleep(100 * time.Millisecond)
		}
		d.Report(Event{Event: "confirmed", File: "a.mp4", Text: "done"})
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 11 {
			t.Fatalf("%d lines in 10 s, want 11:\n%s", len(lines), out.String())
		}
		var e Event
		if err := json.Unmarshal([]byte(lines[9]), &e); err != nil || e.Event != "progress" || e.Rate < 9e5 || e.Rate > 11e5 {
			t.Errorf("%s: %+v, %v, want about 1 MB/s", lines[9], e, err)
		}
		if err := json.Unmarshal([]byte(lines[10]), &e); err != nil || e.Event != "confirmed" {
			t.Errorf("%s: %v", lines[10], err)
		}
	})
}

func TestTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := New(&out, false)
		d.width = func() int { return 60 }
		p := filetransfer.Progress{File: "a very long name of a recording that has no end.mp4", Size: 1e7, Sent: 5e6}
		d.Show([]filetransfer.Progress{p})
		time.Sleep(time.Second)
		p.Sent = 6e6
		d.Show([]filetransfer.Progress{p})
		lines := strings.Split(out.String(), "\n")
		last := lines[len(lines)-2]
		if !strings.HasPrefix(last, "\x1b[1A\x1b[J") {
			t.Errorf("the old line is not drawn over: %q", last)
		}
		for _, want := range []string{"60 %", "1.0 MB/s", "4s left"} {
			if !strings.Contains(last, want) {
				t.Errorf("%q lacks %q", last, want)
			}
		}
		out.Reset()
		d.Report(Event{Event: "confirmed", Text: "a.mp4: confirmed"})
		d.Close()
		if got := out.String(); got != "\x1b[1A\x1b[Ja.mp4: confirmed\n" {
			t.Errorf("got %q", got)
		}
	})
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 1_400_000_000: "1.4 GB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}
