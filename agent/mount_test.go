package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lenscast/lenscast/agent/recording/archive"
)

// A disk is missing at the start, is plugged in, and pulled while it is
// recorded on. Below it nothing must be written.
func TestRecordingWaitsForItsDisk(t *testing.T) {
	mount := filepath.Join(t.TempDir(), "usb")
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	plug := func() {
		if err := unix.Mount("disk", mount, "tmpfs", 0, "size=64m"); errors.Is(err, unix.EPERM) {
			t.Skip("this user may not mount")
		} else if err != nil {
			t.Fatal(err)
		}
	}
	pull := func() error { return unix.Unmount(mount, unix.MNT_DETACH) }
	plug()
	if err := pull(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pull() }) // if the test ends before it does

	dir := filepath.Join(mount, "rec")
	a := startAgent(t, head+fmt.Sprintf("[recording]\ndir = %q\nrequire_mount = %q\nkeep_free = \"0B\"\nmax_loss = \"500ms\"\n", dir, mount)+frontA)
	missing := "nothing is recorded: no disk is mounted at " + mount
	a.await("/api/status", missing)
	a.await("/api/recordings", missing)
	for range 2 {
		plug()
		a.await("/api/status", `"recording":"recording"`)
		a.await("/api/recordings", `"duration_seconds":[1-9]`)
		if err := pull(); err != nil {
			t.Fatal(err)
		}
		a.await("/api/status", missing)
		// What is seen now is what was hidden by the disk.
		_ = filepath.WalkDir(mount, func(path string, _ fs.DirEntry, _ error) error {
			if path != mount {
				t.Errorf("%s was written below the disk", path)
			}
			return nil
		})
	}
	a.await("/healthz", "ok")
	if took := a.end(); took > 2*time.Second {
		t.Errorf("the end took %v", took)
	}
}

// A folder that can't be used, as on a disk that has become read-only, stops no
// live picture, and is used as soon as it can be.
func TestRecordingWaitsForItsFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, head+fmt.Sprintf("[recording]\ndir = %q\nkeep_free = \"0B\"\nmax_loss = \"500ms\"\n", dir)+frontA)
	a.await("/api/status", "nothing is recorded: .*"+dir)
	a.await("/api/status", `"state":"live"`)
	a.await("/api/recordings", "nothing is recorded: .*"+dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	a.await("/api/status", `"recording":"recording"`)
	a.await("/api/recordings", `"duration_seconds":[1-9]`)
}

// Two agents on one folder: the second must not take what the first one is
// recording for what a crash has left. It records when the first has ended.
func TestRecordingFolderIsOneAgents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	text := head + fmt.Sprintf("[recording]\ndir = %q\nkeep_free = \"0B\"\nmax_loss = \"500ms\"\n", dir) + frontA
	first := startAgent(t, text)
	first.await("/api/recordings", `"duration_seconds":[1-9]`)
	second := startAgent(t, text)
	second.await("/api/status", `"problems":\["nothing is recorded: another lenscast records to `+dir)
	second.await("/api/status", `"state":"live"`)
	first.end()
	second.await("/api/status", `"recording":"recording"`)
	list, err := archive.Read(dir)
	if err != nil || len(list) != 1 || list[0].Repaired {
		t.Fatalf("the first agent left %+v, %v", list, err)
	}
	media, err := os.ReadFile(filepath.Join(dir, list[0].ID+".mp4"))
	if err != nil {
		t.Fatal(err)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(media)); sum != list[0].SHA256 {
		t.Errorf("the recording has the SHA-256 %s, noted is %s", sum, list[0].SHA256)
	}
	second.end()
}
