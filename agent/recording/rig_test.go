package recording_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lenscast/lenscast/agent/durable"
	"github.com/lenscast/lenscast/agent/recording"
	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/agent/recording/recordingtest"
	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/agent/wallclock"
)

// The test program is also the rig that is killed, and whose power is cut:
// with LENSCAST_RIG set to "record" or "check" it does only that. Its
// settings, in the environment:
//
//	LENSCAST_RIG_DIR      where it records
//	LENSCAST_RIG_CLIP     an H.264 file with access unit delimiters, 30 fps
//	LENSCAST_RIG_SOUND    an ADTS file that goes with it; empty: no sound
//	LENSCAST_RIG_JOURNAL  a file, on a disk that survives, of what it did, if any
//	LENSCAST_RIG_FOR      how long it records, such as 60s; empty: until killed
//	LENSCAST_RIG_OUT      a folder for the files that check found whole
//	LENSCAST_RIG_SEGMENT  the length of a recording, such as 4s
//	LENSCAST_RIG_NOSYNC   not empty: record as if syncing were not needed
//	LENSCAST_RIG_KEEP     not empty: keep all; else what is older than a day goes
func TestMain(m *testing.M) {
	var err error
	switch mode := os.Getenv("LENSCAST_RIG"); mode {
	case "":
		os.Exit(m.Run())
	case "record":
		err = rigRecord()
	case "check":
		err = rigCheck()
	default:
		err = fmt.Errorf("LENSCAST_RIG is %q", mode)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rig:", err)
		os.Exit(1)
	}
}

func rigArchive(fsys durable.FS, finished func(archive.Info)) (*archive.Archive, error) {
	clock, err := wallclock.NewSystem()
	if err != nil {
		return nil, err
	}
	return archive.Open(archive.Params{
		Dir: os.Getenv("LENSCAST_RIG_DIR"), FS: fsys, Clock: clock, Finished: finished,
		Log:       slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Retention: archive.Retention{MaxAge: 24 * time.Hour, KeepUnsent: os.Getenv("LENSCAST_RIG_KEEP") != ""},
	})
}

// note appends a line to the journal. It is there when it returns: the
// journal is on another machine's disk, or outlives the process.
func note(format string, args ...any) error {
	if os.Getenv("LENSCAST_RIG_JOURNAL") == "" {
		return nil
	}
	f, err := os.OpenFile(os.Getenv("LENSCAST_RIG_JOURNAL"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, format+"\n", args...)
	return errors.Join(err, f.Close())
}

// soundLag is how late the sound comes, as muxers pack it.
const soundLag = 150 * time.Millisecond

// rigRecord records the clip in a loop, in its time, until it is killed.
func rigRecord() error {
	b, err := os.ReadFile(os.Getenv("LENSCAST_RIG_CLIP"))
	if err != nil {
		return err
	}
	src, err := recordingtest.FromAnnexB(b, 30)
	if err != nil {
		return err
	}
	var sound *recordingtest.Audio
	if name := os.Getenv("LENSCAST_RIG_SOUND"); name != "" {
		if b, err = os.ReadFile(name); err != nil {
			return err
		}
		if sound, err = recordingtest.FromADTS(b); err != nil {
			return err
		}
	}
	segment, err := time.ParseDuration(os.Getenv("LENSCAST_RIG_SEGMENT"))
	if err != nil {
		return err
	}
	var fsys durable.FS = durable.OS{}
	if os.Getenv("LENSCAST_RIG_NOSYNC") != "" {
		fsys = forgetful{}
	}
	a, err := rigArchive(fsys, func(i archive.Info) { _ = note("finished %d %s", i.Sequence, i.SHA256) })
	if err != nil {
		return err
	}
	next := uint64(1)
	for _, i := range a.List() {
		next = max(next, i.Sequence+1)
	}
	if err := note("session %d", next); err != nil {
		return err
	}
	s := stream.New()
	r := recording.New(recording.Params{
		Camera: "hero", Stream: s, Archive: a, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Segment: segment,
		Audio: true,
	})
	ctx, end := context.WithCancel(context.Background())
	defer end()
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for s.Stats().Readers == 0 {
		time.Sleep(time.Millisecond)
	}
	limit, _ := time.ParseDuration(os.Getenv("LENSCAST_RIG_FOR"))
	for start := time.Now(); ; {
		au := src.Next()
		if limit > 0 && au.PTS >= limit {
			end()
			return <-done
		}
		time.Sleep(au.PTS - time.Since(start))
		s.Publish(au)
		for sound != nil && sound.PTS()+soundLag <= au.PTS {
			s.PublishAudio(sound.Next())
		}
		if err := note("published %d", au.PTS+src.Interval); err != nil {
			return err
		}
	}
}

// rigCheck repairs what the last session left, holds all to the journal, and
// hands the session's files out.
func rigCheck() error {
	a, err := rigArchive(durable.OS{}, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _ = a.Run(ctx) }()
	for a.Status().Repairing > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()

	journal, err := os.Open(os.Getenv("LENSCAST_RIG_JOURNAL"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer journal.Close()
	var first uint64 // sequence of the session
	var published time.Duration
	promised := map[uint64]string{}
	for lines := bufio.NewScanner(journal); lines.Scan(); {
		var n uint64
		var sum string
		if _, err := fmt.Sscanf(lines.Text(), "session %d", &n); err == nil {
			first, published = n, 0
			clear(promised)
		} else if lines.Text() == "checked" {
			published = 0
			clear(promised)
		} else if _, err := fmt.Sscanf(lines.Text(), "finished %d %s", &n, &sum); err == nil {
			promised[n] = sum
		} else if _, err := fmt.Sscanf(lines.Text(), "published %d", &n); err == nil {
			published = time.Duration(n)
		}
	}
	var recorded time.Duration
	lost, broken, kept, disorder := 0, 0, 0, 0
	last := ""
	for _, i := range a.List() {
		if i.ID <= last {
			disorder++
		}
		last = i.ID
		if i.Sequence < first {
			continue
		}
		sum, err := handOut(a, i)
		if err != nil || sum != i.SHA256 {
			broken++
			fmt.Fprintln(os.Stderr, "rig: broken:", i.ID, err)
		} else {
			recorded += time.Duration(i.Duration)
		}
		if want, ok := promised[i.Sequence]; ok {
			delete(promised, i.Sequence)
			if want == sum {
				kept++
			} else {
				lost++
			}
		}
		if err := a.Delete(i.ID, "checked"); err != nil {
			return err
		}
	}
	lost += len(promised)
	fmt.Fprintf(os.Stdout, "result finished=%d lost=%d broken=%d published=%.3f tail_lost=%.3f disorder=%d last=%s\n",
		kept+lost, lost, broken, published.Seconds(), (published - recorded).Seconds(), disorder, last)
	return note("checked")
}

// handOut copies a recording's file and returns its checksum.
func handOut(a *archive.Archive, i archive.Info) (string, error) {
	m, err := a.Media(i.ID)
	if err != nil {
		return "", err
	}
	defer m.Close()
	out, err := os.Create(filepath.Join(os.Getenv("LENSCAST_RIG_OUT"), filepath.Base(i.ID)+".mp4"))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(h, out), m.File())
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, out.Close())
}

// forgetful is a file system as seen by programs that never sync.
type forgetful struct{ durable.OS }

func (forgetful) SyncDir(string) error { return nil }

func (f forgetful) Create(name string) (durable.File, error) {
	file, err := f.OS.Create(name)
	return forgetfulFile{file}, err
}

type forgetfulFile struct{ durable.File }

func (forgetfulFile) Sync() error     { return nil }
func (forgetfulFile) Datasync() error { return nil }
