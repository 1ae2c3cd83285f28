// Package progress shows file transfers: on a terminal as lines that are
// redrawn in place, elsewhere as JSON, one object a line.
package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

const (
	redrawEvery = 250 * time.Millisecond
	reportEvery = time.Second // JSON
	maxLines    = 10          // transfers shown at once
	rateWindow  = 5 * time.Second
)

// Event is a JSON line.
type Event struct {
	Time    time.Time `json:"time"`
	Event   string    `json:"event"` // progress, confirmed, sent, retry, failed, note
	File    string    `json:"file,omitempty"`
	Agent   string    `json:"agent,omitempty"`
	Remote  string    `json:"remote,omitempty"`
	Size    int64     `json:"size,omitempty"`
	Sent    int64     `json:"sent,omitempty"`
	Durable int64     `json:"durable,omitempty"`
	Rate    int64     `json:"bytes_per_second,omitempty"`
	Name    string    `json:"name,omitempty"`   // confirmed: where the receiver has it
	SHA256  string    `json:"sha256,omitempty"` // confirmed
	Text    string    `json:"text,omitempty"`
}

// Display shows transfers. It is safe for use by several goroutines.
type Display struct {
	mu     sync.Mutex
	w      io.Writer
	width  func() int // nil: JSON
	shown  time.Time
	lines  int // on the terminal now, to be drawn over
	meters map[string]*meter
}

// meter measures the rate of one transfer over the last seconds.
type meter struct {
	started time.Time
	base    int64 // bytes at started
	rate    float64
}

// New returns a display that writes to w: lines for people when w is a terminal
// and forceJSON is false, JSON otherwise.
func New(w io.Writer, forceJSON bool) *Display {
	d := &Display{w: w, meters: make(map[string]*meter)}
	if file, ok := w.(*os.File); ok && !forceJSON && IsTerminal(file) {
		d.width = func() int { return terminalWidth(file) }
	}
	return d
}

// Show shows where all transfers are now. It may be called as often as one
// likes: most calls do nothing.
func (d *Display) Show(now []filetransfer.Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	every := reportEvery
	if d.width != nil {
		every = redrawEvery
	}
	if time.Since(d.shown) < every {
		return
	}
	d.shown = time.Now()
	d.measure(now)
	if d.width == nil {
		for _, p := range now {
			d.encode(Event{
				Event: "progress", File: p.File, Agent: p.Agent, Remote: p.Remote, Size: max(p.Size, 0),
				Sent: p.Sent, Durable: p.Durable, Rate: int64(d.meters[key(p)].rate),
			})
		}
		return
	}
	d.clear()
	width := d.width()
	for i, p := range now {
		if i == maxLines {
			fmt.Fprintf(d.w, "… and %d more\n", len(now)-maxLines)
			d.lines++
			break
		}
		fmt.Fprintln(d.w, line(p, d.meters[key(p)].rate, width))
		d.lines++
	}
}

// Report writes an event at once: as a line for people on a terminal, which
// stays, else as JSON.
func (d *Display) Report(e Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.width == nil {
		d.encode(e)
		return
	}
	d.clear()
	fmt.Fprintln(d.w, e.Text)
}

// Close takes the lines of transfers off the terminal.
func (d *Display) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clear()
}

func (d *Display) clear() {
	if d.lines > 0 {
		fmt.Fprintf(d.w, "\x1b[%dA\x1b[J", d.lines) // up, and erase to the end of the screen
		d.lines = 0
	}
}

func (d *Display) encode(e Event) {
	e.Time = time.Now().UTC().Truncate(time.Millisecond)
	// A struct of plain values can always be marshalled; a writer that fails
	// has no reader left to tell.
	raw, _ := json.Marshal(e)
	_, _ = d.w.Write(append(raw, '\n'))
}

func key(p filetransfer.Progress) string { return p.Agent + "\x00" + p.File }

// measure brings the rates up to date and forgets transfers that have ended.
func (d *Display) measure(now []filetransfer.Progress) {
	seen := make(map[string]*meter, len(now))
	for _, p := range now {
		m := d.meters[key(p)]
		if m == nil || p.Sent < m.base {
			m = &meter{started: d.shown, base: p.Sent}
		}
		if spent := d.shown.Sub(m.started); spent > 0 {
			m.rate = float64(p.Sent-m.base) / spent.Seconds()
			if spent > rateWindow { // half of the window's past stays
				m.started = d.shown.Add(-rateWindow / 2)
				m.base = p.Sent - int64(m.rate*(rateWindow/2).Seconds())
			}
		}
		seen[key(p)] = m
	}
	d.meters = seen
}

// line is one transfer for people, at most width characters.
func line(p filetransfer.Progress, rate float64, width int) string {
	what := fmt.Sprintf("%s/s", Bytes(int64(rate)))
	switch {
	case p.Checking:
		what = "checking what was sent before"
	case rate > 0 && p.Size > p.Sent:
		left := time.Duration(float64(p.Size-p.Sent) / rate * float64(time.Second))
		what += fmt.Sprintf("  %v left", left.Round(time.Second))
	case p.Size >= 0 && p.Sent == p.Size:
		what = "waiting for the confirmation"
	}
	done := Bytes(p.Sent)
	bar := ""
	if p.Size > 0 {
		const cells = 20
		full := int(p.Sent * cells / p.Size)
		bar = "[" + strings.Repeat("=", full) + strings.Repeat(" ", cells-full) + "] "
		done = fmt.Sprintf("%3d %%", p.Sent*100/p.Size)
	}
	name := p.File
	if p.Agent != "" {
		name = p.Agent + "/" + name
	}
	rest := fmt.Sprintf("  %s%s  %s", bar, done, what)
	room := max(width-1-utf8.RuneCountInString(rest), 10)
	if runes := []rune(name); len(runes) > room {
		name = "…" + string(runes[len(runes)-room+1:])
	}
	return name + rest
}

// Bytes writes a number of bytes for people: 1.4 GB.
func Bytes(n int64) string {
	value, unit := float64(n), 0
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	for value >= 1000 && unit < len(units)-1 {
		value /= 1000
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// IsTerminal tells whether people read along at f.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func terminalWidth(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return 80
	}
	return int(size.Col)
}
