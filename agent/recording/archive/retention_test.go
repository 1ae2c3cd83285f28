package archive_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lenscast/lenscast/agent/durable/durabletest"
	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/agent/recording/recordingtest"
)

// fill makes n recordings of one second, an hour after each other.
func fill(t *testing.T, a *archive.Archive, c *clock, n int) {
	t.Helper()
	src := recordingtest.Synthetic(30, 30, 1000)
	for range n {
		if err := record(a, c, "hero", src, 30); err != nil {
			t.Fatal(err)
		}
		c.pass(time.Hour - time.Second)
	}
}

func sequences(a *archive.Archive) []uint64 {
	var s []uint64
	for _, i := range a.List() {
		s = append(s, i.Sequence)
	}
	return s
}

func want(t *testing.T, a *archive.Archive, oldest uint64, n int) {
	t.Helper()
	got := sequences(a)
	if len(got) != n || n > 0 && (got[0] != oldest || got[n-1] != oldest+uint64(n)-1) {
		t.Errorf("recordings %v, want %d from %d on", got, n, oldest)
	}
}

func TestRetentionByAge(t *testing.T) {
	d, c := durabletest.NewDisk("/", 0), newClock()
	a := open(t, d, c, archive.Params{Retention: archive.Retention{MaxAge: 3 * time.Hour}})
	fill(t, a, c, 6) // the first ended 5:59:59 ago
	settle(t, a)
	want(t, a, 4, 3)
	st := a.Status()
	if len(st.Deletions) != 3 || st.Deletions[0].Info.Sequence != 1 || !strings.Contains(st.Deletions[0].Reason, "3h") {
		t.Errorf("%+v", st.Deletions)
	}
}

// TestRetentionByAgeWithWrongClocks lets the clock jump, untrusted: nothing
// is deleted before the machine has run for so long since.
func TestRetentionByAgeWithWrongClocks(t *testing.T) {
	for name, jump := range map[string]func(time.Time) time.Time{
		"3 years back":     func(t time.Time) time.Time { return t.AddDate(-3, 0, 0) },
		"10 years forward": func(t time.Time) time.Time { return t.AddDate(10, 0, 0) },
		"1970":             func(time.Time) time.Time { return time.Unix(0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			d, c := durabletest.NewDisk("/", 0), newClock()
			p := archive.Params{Retention: archive.Retention{MaxAge: 24 * time.Hour}}
			a := open(t, d, c, p)
			fill(t, a, c, 3)
			c.Wall, c.Trusted = jump(c.Wall), false
			fill(t, a, c, 3)
			settle(t, a)
			want(t, a, 1, 6)

			// A restart: nobody knows how long the machine was off.
			c.Boot, c.BootID = 0, "boot-2"
			a = open(t, d, c, p)
			settle(t, a)
			want(t, a, 1, 6)

			// 19 hours later the first three are at least 22 to 24 hours old.
			c.pass(19 * time.Hour)
			settle(t, a)
			want(t, a, 1, 6)
			c.pass(2*time.Hour + time.Minute)
			settle(t, a)
			want(t, a, 4, 3)

			// NTP tells that the first three would be old by now; of the
			// others nobody knows more than before.
			c.Wall, c.Trusted = newClock().Wall.AddDate(1, 0, 0), true
			settle(t, a)
			want(t, a, 4, 3)
			c.pass(24 * time.Hour)
			settle(t, a)
			want(t, a, 0, 0)
		})
	}
}

func TestRetentionBySize(t *testing.T) {
	d, c := durabletest.NewDisk("/", 0), newClock()
	a := open(t, d, c, archive.Params{})
	fill(t, a, c, 5)
	size := a.List()[0].Size
	a = open(t, d, c, archive.Params{Retention: archive.Retention{MaxSize: 3*size + size/2}})
	settle(t, a)
	want(t, a, 3, 3)
}

func TestKeepFree(t *testing.T) {
	d, c := durabletest.NewDisk("/", 0), newClock()
	a := open(t, d, c, archive.Params{Retention: archive.Retention{KeepFree: 200 << 10}})
	fill(t, a, c, 5)
	size := a.List()[0].Size
	d.Fill(200<<10 + 2*size - 1)
	if err := a.Room(2 * size); err != nil {
		t.Fatal(err)
	}
	want(t, a, 2, 4)
	err := a.Room(100 << 20)
	if !errors.Is(err, archive.ErrFull) || !strings.Contains(err.Error(), "no recording is left") {
		t.Errorf("%v", err)
	}
	want(t, a, 0, 0)
}

// TestUnsentRecordingsStay holds what was not offloaded, whatever the rules
// say, and lets it go once it was.
func TestUnsentRecordingsStay(t *testing.T) {
	d, c := durabletest.NewDisk("/", 0), newClock()
	p := archive.Params{Retention: archive.Retention{
		MaxAge: time.Hour, MaxSize: 1, KeepFree: 1 << 20, KeepUnsent: true,
	}}
	a := open(t, d, c, p)
	fill(t, a, c, 4)
	d.Fill(0)
	err := a.Room(0)
	if !errors.Is(err, archive.ErrFull) || !strings.Contains(err.Error(), "4 recordings wait to be offloaded") {
		t.Errorf("%v", err)
	}
	want(t, a, 1, 4)
	d.Fill(1 << 20)
	for _, i := range a.List()[:2] {
		if err := a.SetOffloaded(i.ID, archive.Offloaded{To: "files.example.org"}); err != nil {
			t.Fatal(err)
		}
	}
	a = open(t, d, c, p) // it is remembered
	if got := a.Status().Unsent; got != 2 {
		t.Errorf("%d unsent, want 2", got)
	}
	settle(t, a)
	want(t, a, 3, 2)
}

func TestWhatIsPlayedOrRunsStays(t *testing.T) {
	d, c := durabletest.NewDisk("/", 0), newClock()
	a := open(t, d, c, archive.Params{Retention: archive.Retention{MaxSize: 1}})
	fill(t, a, c, 2)
	m, err := a.Media(a.List()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	src := recordingtest.Synthetic(30, 30, 1000)
	w, err := a.Create("hero", src.Next(), 0, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, a)
	if got := sequences(a); len(got) != 2 || got[0] != 1 || got[1] != 3 {
		t.Errorf("recordings %v, want the played and the running one", got)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := finish(w); err != nil {
		t.Error(err)
	}
	settle(t, a)
	if got := sequences(a); len(got) != 0 {
		t.Errorf("recordings %v", got)
	}
	if files := append(d.Files(".mp4"), d.Files("Z.json")...); len(files) != 0 {
		t.Errorf("files %v", files)
	}
	if _, err := a.Media("hero/none"); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
