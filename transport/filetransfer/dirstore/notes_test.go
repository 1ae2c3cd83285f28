package dirstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

func openStore(t *testing.T, dir string) (store *Store, closeStore func()) {
	t.Helper()
	fsys, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if store, err = New(fsys, Params{}); err != nil {
		t.Fatal(err)
	}
	return store, func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		if err := fsys.Close(); err != nil {
			t.Error(err)
		}
	}
}

func clip(i int) filetransfer.File {
	return filetransfer.File{
		Agent: "hero", ID: fmt.Sprintf("file-%04d", i), Name: fmt.Sprintf("clip-%d.mp4", i),
		Size: 5, Modified: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
	}
}

func keep(t *testing.T, store *Store, f filetransfer.File) filetransfer.Receipt {
	t.Helper()
	in, err := store.Open(t.Context(), f, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	receipt, err := in.Commit(t.Context(), sha256.Sum256([]byte("hello")))
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	return receipt
}

func wantKnown(t *testing.T, store *Store, f filetransfer.File, want bool) {
	t.Helper()
	receipt, known, err := store.Find(t.Context(), f)
	if err != nil || known != want {
		t.Errorf("%s is known: %v, %v, want %v", f.ID, known, err, want)
	}
	if known && filepath.Base(receipt.Name) != f.Name {
		t.Errorf("%s is said to be %s", f.ID, receipt.Name)
	}
}

// TestNotes knows what was confirmed, also after it was closed, and after a power
// cut has left half of a line, or something else, in a log.
func TestNotes(t *testing.T) {
	dir := t.TempDir()
	logs := func() []string {
		found, err := filepath.Glob(filepath.Join(dir, ".lenscast/done/*.log"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	store, closeStore := openStore(t, dir)
	for i := range 3 {
		keep(t, store, clip(i))
	}
	wantKnown(t, store, clip(2), true)
	wantKnown(t, store, clip(3), false)
	closeStore()

	log := logs()[0]
	lines, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	torn := append(make([]byte, 20_000), '\n') // as a block that was not written
	torn = append(append(torn, lines...), lines[:100]...)
	if err := os.WriteFile(log, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(log), "00000009.log.bak"), lines, 0o600); err != nil {
		t.Fatal(err) // somebody's copy
	}
	store, closeStore = openStore(t, dir)
	for i := range 4 {
		wantKnown(t, store, clip(i), i < 3)
	}
	keep(t, store, clip(3))
	closeStore()
	if n := len(logs()); n != 2 {
		t.Errorf("%d logs, want 2: what was cut short must not be gone on with", n)
	}

	store, closeStore = openStore(t, dir)
	defer closeStore()
	wantKnown(t, store, clip(3), true)
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	wantKnown(t, store, clip(0), false)
	keep(t, store, clip(4))
	if err := store.Sweep(time.Now().Add(31 * 24 * time.Hour)); err != nil {
		t.Error(err)
	}
	wantKnown(t, store, clip(3), false)
	wantKnown(t, store, clip(4), false)
	keep(t, store, clip(5)) // in a log that was begun anew
	wantKnown(t, store, clip(5), true)
}

// TestManyNotes knows what is in all logs, and forgets the oldest when memory for
// more is not to be had.
func TestManyNotes(t *testing.T) {
	store, closeStore := openStore(t, t.TempDir())
	defer closeStore()
	const files = maxNotes + 20_000
	for i := range files {
		f := clip(i)
		r := newRecord(f)
		r.SHA256, r.Final = new(filetransfer.Digest), "hero/2026-11-22/"+f.Name
		if err := store.notes.add(f, r); err != nil {
			t.Fatal(err)
		}
	}
	// oldest looks at one note in a hundred.
	oldest := func(n *notes) int {
		first := files
		for i := files - 1; i >= 0; i -= 100 {
			r, err := n.find(clip(i))
			switch {
			case err != nil:
				t.Fatal(err)
			case r != nil && first-i > 100:
				t.Fatalf("note %d of %d is known, the one after is not", i, files)
			case r != nil:
				first = i
			}
		}
		return first
	}
	first := oldest(store.notes)
	if n := files - first; n < maxNotes/2 || n > maxNotes+maxLog/100 {
		t.Errorf("%d notes are known, want some %d", n, maxNotes)
	}
	again, err := openNotes(store)
	if err != nil {
		t.Fatal(err)
	}
	if n := oldest(again); n != first {
		t.Errorf("read again the notes are known from %d on, want %d", n, first)
	}
}

// TestOldNotes knows what was confirmed when every note was a file of its own.
func TestOldNotes(t *testing.T) {
	dir := t.TempDir()
	store, closeStore := openStore(t, dir)
	f := clip(0)
	receipt := keep(t, store, f)
	closeStore()
	logs, err := filepath.Glob(filepath.Join(dir, ".lenscast/done/*.log"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("the logs are %v, %v, want one", logs, err)
	}
	if err := os.Remove(logs[0]); err != nil {
		t.Fatal(err)
	}
	note, err := json.Marshal(map[string]any{
		"name": f.Name, "size": f.Size, "modified": f.Modified, "sha256": receipt.SHA256, "final": receipt.Name,
	})
	if err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(dir, ".lenscast/done", f.Agent)
	if err := os.Mkdir(old, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(old, f.ID+".json"), note, 0o600); err != nil {
		t.Fatal(err)
	}
	store, closeStore = openStore(t, dir)
	defer closeStore()
	wantKnown(t, store, f, true)
	wantKnown(t, store, clip(1), false)
	if err := store.Sweep(time.Now().Add(31 * 24 * time.Hour)); err != nil {
		t.Error(err)
	}
	wantKnown(t, store, f, false)
}

// FuzzNotes reads logs that anything may have happened to: a note that is found
// can be read again where it was found.
func FuzzNotes(f *testing.F) {
	f.Add([]byte(`{"agent":"hero","id":"file-0001","name":"a.mp4","size":5,"final":"hero/a.mp4"}` + "\n"))
	f.Add([]byte("\x00\x00\n{}\nnull\n[]\n{\"agent\":1}\n{\"agent\":\"a\"}"))
	f.Add(append(bytes.Repeat([]byte(" "), maxSidecar), "{}\n{}\n"...))
	f.Fuzz(func(t *testing.T, log []byte) {
		err := scanNotes(bytes.NewReader(log), func(x note, at uint32) {
			again, err := noteAt(bytes.NewReader(log), at)
			if err != nil || again.Agent != x.Agent || again.ID != x.ID {
				t.Errorf("at %d there was %q of %q, and now is %q of %q, %v", at, x.ID, x.Agent, again.ID, again.Agent, err)
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
}
