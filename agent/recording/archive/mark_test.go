package archive_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lenscast/lenscast/agent/durable/durabletest"
	"github.com/lenscast/lenscast/agent/recording/archive"
)

// TestDeleteSent deletes what is offloaded and old enough, by rules that came
// while the archive was running, and nothing else.
func TestDeleteSent(t *testing.T) {
	d, c := durabletest.NewDisk("/", 0), newClock()
	a := open(t, d, c, archive.Params{Retention: archive.Retention{KeepUnsent: true}})
	fill(t, a, c, 4)
	all := a.List()
	for _, i := range all[:2] {
		if err := a.SetOffloaded(i.ID, archive.Offloaded{To: "files.example.org"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.SetOffloadDropped(all[2].ID, true); err != nil {
		t.Fatal(err)
	}
	settle(t, a)
	want(t, a, 1, 4)
	a.SetRetention(archive.Retention{KeepUnsent: true, DeleteSent: true, SentAge: 240 * time.Hour})
	settle(t, a)
	want(t, a, 1, 4)
	c.pass(240 * time.Hour)
	settle(t, a)
	want(t, a, 3, 2)
	if got := a.Status().Unsent; got != 1 {
		t.Errorf("%d unsent, want 1: the other one was dropped", got)
	}
	// What is not to be sent is not held for it.
	a.SetRetention(archive.Retention{KeepUnsent: true, MaxSize: 1})
	settle(t, a)
	want(t, a, 4, 1)
}

// TestMarksOfAnotherProcess changes a mark beside a running archive, which
// must not overwrite it with what it remembers.
func TestMarksOfAnotherProcess(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	a, err := archive.Open(archive.Params{Dir: dir, Clock: c, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, a, c, 2)
	id := a.List()[0].ID
	if err := archive.Drop(dir, id, true); err != nil {
		t.Fatal(err)
	}
	if i, err := a.Refresh(id); err != nil || !i.OffloadDropped {
		t.Errorf("%+v, %v", i, err)
	}
	if err := archive.Drop(dir, id, false); err != nil {
		t.Fatal(err)
	}
	if err := a.SetOffloaded(id, archive.Offloaded{To: "server", Name: "x.mp4"}); err != nil {
		t.Fatal(err)
	}
	list, err := archive.Read(dir)
	if err != nil || list[0].OffloadDropped || list[0].Offloaded == nil || list[0].Offloaded.Name != "x.mp4" {
		t.Errorf("%+v, %v", list, err)
	}
	if err := archive.Remove(dir, id); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Refresh(id); !errors.Is(err, archive.ErrNotFound) || len(a.List()) != 1 {
		t.Errorf("%v, and %d recordings are listed", err, len(a.List()))
	}
	second := a.List()[0].ID
	if err := os.Remove(filepath.Join(dir, second) + ".mp4"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Media(second); !errors.Is(err, archive.ErrNotFound) || len(a.List()) != 0 {
		t.Errorf("%v, and %d recordings are listed", err, len(a.List()))
	}
	for _, err := range []error{
		archive.Drop(dir, "hero/none", true), archive.Drop(dir, "../x", true),
		a.SetOffloadDropped("hero/none", true), a.SetOffloaded("hero/none", archive.Offloaded{}),
	} {
		if !errors.Is(err, archive.ErrNotFound) {
			t.Errorf("%v", err)
		}
	}
}
