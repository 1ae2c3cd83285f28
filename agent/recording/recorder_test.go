package recording_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/agent/durable"
	"github.com/lenscast/lenscast/agent/durable/durabletest"
	"github.com/lenscast/lenscast/agent/recording"
	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/agent/recording/recordingtest"
	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/agent/wallclock"
)

// bubbleClock is a clock that runs with the time of a synctest bubble.
type bubbleClock struct{ start time.Time }

func (c bubbleClock) Read() wallclock.Reading {
	return wallclock.Reading{Wall: time.Now(), Trusted: true, Boot: time.Since(c.start), BootID: "boot"}
}

// rig is a camera that records.
type rig struct {
	t        *testing.T
	stream   *stream.Stream
	archive  *archive.Archive
	recorder *recording.Recorder
	src      *recordingtest.Source
	halt     func() error // ends it, and says how it ended
}

// stop ends it, and expects that to go well.
func (r *rig) stop() {
	r.t.Helper()
	if err := r.halt(); err != nil {
		r.t.Error(err)
	}
}

// start starts a rig. The archive's Run goes with the recorder's.
func start(t *testing.T, d durable.FS, src *recordingtest.Source, ret archive.Retention, p recording.Params) *rig {
	t.Helper()
	return startAt(t, "/rec", d, src, ret, p)
}

func startAt(t *testing.T, dir string, d durable.FS, src *recordingtest.Source, ret archive.Retention, p recording.Params) *rig {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	a, err := archive.Open(archive.Params{Dir: dir, FS: d, Clock: bubbleClock{time.Now()}, Retention: ret, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	p.Camera, p.Stream, p.Archive, p.Log = "hero", stream.New(), a, log
	r := &rig{t: t, stream: p.Stream, archive: a, recorder: recording.New(p), src: src}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- r.recorder.Run(ctx) }()
	go func() { done <- a.Run(ctx) }()
	r.halt = func() error {
		cancel()
		return errors.Join(<-done, <-done)
	}
	synctest.Wait()
	return r
}

// feed publishes pictures for d, in their time.
func (r *rig) feed(d time.Duration) {
	for range int(d / r.src.Interval) {
		r.stream.Publish(r.src.Next())
		time.Sleep(r.src.Interval)
	}
	synctest.Wait()
}

// finished returns the finished recordings.
func (r *rig) finished() []archive.Info {
	var list []archive.Info
	for _, i := range r.archive.List() {
		if !i.Running {
			list = append(list, i)
		}
	}
	return list
}

func (r *rig) state(want recording.State) {
	r.t.Helper()
	if st := r.recorder.Status(); st.State != want {
		r.t.Errorf("state %q (%s), want %q", st.State, st.Reason, want)
	}
}

func seconds(i archive.Info) float64 { return time.Duration(i.Duration).Seconds() }

func near(got, want float64) bool { return got > want-0.05 && got < want+0.05 }

func TestSegmentsByDurationBeginAtIDR(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durabletest.NewDisk("/", 0), recordingtest.Synthetic(25, 50, 500), archive.Retention{},
			recording.Params{Segment: 5 * time.Second})
		r.feed(20 * time.Second)
		r.state(recording.Recording)
		r.stop()
		list := r.finished()
		if len(list) != 4 {
			t.Fatalf("%d recordings", len(list))
		}
		// The groups last 2 s: 6, 6, 6, and what is left of 20.
		total := 0
		for n, i := range list {
			if want := []float64{6, 6, 6, 2}[n]; !near(seconds(i), want) {
				t.Errorf("%s lasts %.3f s, want %v", i.ID, seconds(i), want)
			}
			total += i.Pictures
		}
		if total != 500 {
			t.Errorf("%d pictures recorded of 500", total)
		}
	})
}

func TestKeyframeIsAskedForWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durabletest.NewDisk("/", 0), recordingtest.Synthetic(25, 1000, 500), archive.Retention{},
			recording.Params{Segment: 5 * time.Second})
		wishes := 0
		wish := make(chan bool, 1)
		r.stream.OnKeyframeWish(func() { wish <- true })
		for range 16 * 25 {
			select {
			case <-wish:
				wishes++
				r.src.Skip(0) // the next picture is an IDR
			default:
			}
			r.feed(r.src.Interval)
		}
		r.stop()
		if n := len(r.finished()); n != 4 || wishes != 3 {
			t.Errorf("%d recordings, %d wishes; want 4 and 3", n, wishes)
		}
		for _, i := range r.finished()[:3] {
			if !near(seconds(i), 5) {
				t.Errorf("%s lasts %.3f s", i.ID, seconds(i))
			}
		}
	})
}

func TestClosedStreamEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durabletest.NewDisk("/", 0), recordingtest.Synthetic(25, 25, 500), archive.Retention{}, recording.Params{})
		r.feed(4 * time.Second)
		r.stream.Close()
		synctest.Wait()
		if list := r.finished(); len(list) != 1 || !near(seconds(list[0]), 4) {
			t.Errorf("%+v", list)
		}
		r.stop()
	})
}

func TestSegmentsBySize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durabletest.NewDisk("/", 0), recordingtest.Synthetic(25, 25, 4000), archive.Retention{},
			recording.Params{SegmentSize: 400 << 10})
		r.feed(20 * time.Second)
		r.stop()
		list := r.finished()
		if len(list) < 4 {
			t.Fatalf("%d recordings", len(list))
		}
		for _, i := range list[:len(list)-1] {
			if i.Size < 400<<10 || i.Size > 700<<10 {
				t.Errorf("%s has %d bytes", i.ID, i.Size)
			}
		}
	})
}

func TestNewFormatBeginsNewRecording(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durabletest.NewDisk("/", 0), recordingtest.Synthetic(25, 25, 500), archive.Retention{}, recording.Params{})
		r.feed(3 * time.Second)
		for n := range 50 { // the same, with another PPS
			au := r.src.Next()
			if au.Key {
				au.NALUs = append(au.NALUs[:1:1], []byte{0x68, 0xce, 0x3c, 0x80}, au.NALUs[2])
			} else if n == 0 {
				t.Fatal("the test should begin with an IDR")
			}
			r.stream.Publish(au)
			time.Sleep(r.src.Interval)
		}
		r.stop()
		list := r.finished()
		if len(list) != 2 || !near(seconds(list[0]), 3) || !near(seconds(list[1]), 2) {
			t.Errorf("%+v", list)
		}
	})
}

func TestManualWithPreRoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := durabletest.NewDisk("/", 0)
		r := start(t, d, recordingtest.Synthetic(25, 25, 500), archive.Retention{},
			recording.Params{Manual: true, PreRoll: 10 * time.Second})
		began := time.Now()
		r.feed(60*time.Second + 500*time.Millisecond)
		r.state(recording.Standby)
		if files := d.Files(""); len(files) > 0 {
			t.Errorf("files before the start: %v", files)
		}
		if pre := time.Duration(r.recorder.Status().PreRoll); pre < 10*time.Second || pre > 11*time.Second {
			t.Errorf("%v in memory, want 10 s and up to one group more", pre)
		}
		r.recorder.Start()
		synctest.Wait()
		r.state(recording.Recording)
		r.feed(5 * time.Second)
		r.recorder.Stop()
		synctest.Wait()
		r.state(recording.Standby)
		r.feed(3 * time.Second)
		list := r.finished()
		if len(list) != 1 || !near(seconds(list[0]), 15.48) {
			t.Fatalf("%+v", list)
		}
		// It began with what was taken 10 s before the start.
		if at := list[0].Start.Wall.Sub(began).Seconds(); !near(at, 50) {
			t.Errorf("begins %.3f s after the camera, want 50", at)
		}
		r.stop()
	})
}

// What somebody started goes on after a power cut, and what he stopped does
// not begin again.
func TestStartHoldsOverAPowerCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := durabletest.NewDisk("/", 0)
		src := recordingtest.Synthetic(25, 25, 500)
		chance := rand.New(rand.NewPCG(1, 1))
		for n, act := range []func(*recording.Recorder){(*recording.Recorder).Start, (*recording.Recorder).Stop, func(*recording.Recorder) {}} {
			r := start(t, d, src, archive.Retention{}, recording.Params{Manual: true})
			r.feed(3 * time.Second)
			r.state([]recording.State{recording.Standby, recording.Recording, recording.Standby}[n])
			act(r.recorder)
			r.feed(3 * time.Second)
			d = d.AfterPowerCut(chance)
			r.stop()
		}
	})
}

func TestPreRollIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durabletest.NewDisk("/", 0), recordingtest.Synthetic(25, 25, 4000), archive.Retention{},
			recording.Params{Manual: true, PreRoll: time.Hour, PreRollSize: 500 << 10})
		r.feed(30 * time.Second)
		if pre := time.Duration(r.recorder.Status().PreRoll); pre < 3*time.Second || pre > 6*time.Second {
			t.Errorf("%v in 500 KiB, want about 5 s", pre)
		}
		r.stop()
	})
}

func TestGapsAreNotedAndSilenceEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durabletest.NewDisk("/", 0), recordingtest.Synthetic(25, 25, 500), archive.Retention{},
			recording.Params{GapReason: func() string { return "no signal" }})
		r.feed(4 * time.Second)
		time.Sleep(3 * time.Second)
		r.src.Skip(3 * time.Second)
		r.feed(2 * time.Second)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		r.state(recording.Waiting)
		r.src.Skip(30 * time.Second)
		r.feed(time.Second)
		r.state(recording.Recording)
		r.stop()
		list := r.finished()
		if len(list) != 2 || !near(seconds(list[0]), 9) || !near(seconds(list[1]), 1) {
			t.Fatalf("%+v", list)
		}
		gaps := list[0].Gaps
		if len(gaps) != 1 || gaps[0].Reason != "no signal" || !near(time.Duration(gaps[0].Duration).Seconds(), 3.04) ||
			!near(time.Duration(gaps[0].At).Seconds(), 3.96) {
			t.Errorf("gaps %+v", gaps)
		}
	})
}

// TestJumpOfMediaTime gives the pictures times that go back, and that leap
// hours ahead: no duration is bent.
func TestJumpOfMediaTime(t *testing.T) {
	for _, jump := range []time.Duration{-time.Hour, 2*time.Hour + 22*time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			src := recordingtest.Synthetic(25, 25, 500)
			src.Skip(3 * time.Hour)
			r := start(t, durabletest.NewDisk("/", 0), src, archive.Retention{}, recording.Params{})
			r.feed(4 * time.Second)
			r.src.Skip(jump)
			r.feed(4 * time.Second)
			r.stop()
			list := r.finished()
			if len(list) != 2 || !near(seconds(list[0]), 4) || !near(seconds(list[1]), 4) {
				t.Errorf("after a jump by %v: %+v", jump, list)
			}
		})
	}
}

// TestFullDisk fills the disk for ten minutes. Viewers see every picture, and
// recording goes on by itself.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := durabletest.NewDisk("/", 0)
		r := start(t, d, recordingtest.Synthetic(25, 25, 500), archive.Retention{KeepFree: 64 << 20, KeepUnsent: true},
			recording.Params{Segment: time.Minute})
		viewer := r.stream.Subscribe(stream.AtOnce, 100)
		defer viewer.Close()
		seen := 0
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for {
				if _, err := viewer.Next(ctx); err != nil {
					return
				}
				seen++
			}
		}()
		r.feed(90 * time.Second)
		d.Fill(64<<20 - 1)
		r.feed(2 * time.Second)
		r.state(recording.Full)
		if reason := r.recorder.Status().Reason; !strings.Contains(reason, "64.0 MiB are needed") {
			t.Errorf("reason %q", reason)
		}
		list := r.finished()
		if len(list) != 2 || list[1].Repaired || seconds(list[1]) < 29.9 {
			t.Errorf("not finished cleanly: %+v", list)
		}
		r.feed(10 * time.Minute)
		r.state(recording.Full)
		d.Fill(1 << 30)
		r.feed(8 * time.Second)
		r.state(recording.Recording)
		r.stop()
		synctest.Wait()
		if want := 25 * (90 + 2 + 600 + 8); seen != want || viewer.Dropped() != 0 {
			t.Errorf("a viewer saw %d pictures of %d, %d dropped", seen, want, viewer.Dropped())
		}
	})
}

// TestFailingDisk lets every step fail for ten minutes; ENOSPC too, as when
// another program fills the disk.
func TestFailingDisk(t *testing.T) {
	for _, fault := range []error{syscall.ENOSPC, syscall.EIO} {
		synctest.Test(t, func(t *testing.T) {
			d := durabletest.NewDisk("/", 0)
			var from, to time.Time
			d.Fail = func(op, _ string) error {
				if now := time.Now(); now.After(from) && now.Before(to) {
					return fault
				}
				return nil
			}
			r := start(t, d, recordingtest.Synthetic(25, 25, 500), archive.Retention{}, recording.Params{})
			r.feed(20 * time.Second)
			from, to = time.Now(), time.Now().Add(10*time.Minute)
			r.feed(5 * time.Second)
			r.state(recording.Failed)
			if reason := r.recorder.Status().Reason; !strings.Contains(reason, fault.Error()) {
				t.Errorf("reason %q", reason)
			}
			r.feed(13 * time.Minute)
			r.state(recording.Recording)
			r.stop()
			list := r.finished()
			if len(list) != 2 || !list[0].Repaired || list[1].Repaired || seconds(list[0]) < 19 || seconds(list[1]) < 60 {
				t.Errorf("%+v", list)
			}
		})
	}
}

// slowDisk is a disk on which the next sync takes stall.
type slowDisk struct {
	*durabletest.Disk
	stall atomic.Int64
}

func (s *slowDisk) Create(name string) (durable.File, error) {
	f, err := s.Disk.Create(name)
	return slowFile{f, s}, err
}

type slowFile struct {
	durable.File
	disk *slowDisk
}

func (f slowFile) Datasync() error {
	time.Sleep(time.Duration(f.disk.stall.Swap(0)))
	return f.File.Datasync()
}

// TestSlowDisk stalls a sync: what the queue holds is recorded, the rest is
// noted as a gap.
func TestSlowDisk(t *testing.T) {
	for _, tt := range []struct {
		stall  time.Duration
		reason string
	}{
		{20 * time.Second, ""}, // 500 pictures wait
		{28 * time.Second, "the disk was too slow: "},
		{60 * time.Second, "the disk was too slow: "},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &slowDisk{Disk: durabletest.NewDisk("/", 0)}
			r := start(t, d, recordingtest.Synthetic(25, 25, 500), archive.Retention{},
				recording.Params{GapReason: func() string { return "" }})
			r.feed(10 * time.Second)
			d.stall.Store(int64(tt.stall))
			r.feed(80 * time.Second)
			r.stop()
			list := r.finished()
			if len(list) != 1 || !near(seconds(list[0]), 90) {
				t.Fatalf("stall of %v: %+v", tt.stall, list)
			}
			reason := ""
			for _, g := range list[0].Gaps {
				reason += g.Reason
			}
			if !strings.HasPrefix(reason, tt.reason) || tt.reason == "" && reason != "" {
				t.Errorf("stall of %v: gap %q, want %q", tt.stall, reason, tt.reason)
			}
		})
	}
}

func TestPowerCutLosesNoMoreThanConfigured(t *testing.T) {
	const maxLoss = 4 * time.Second
	for lived := 10 * time.Second; lived < 15*time.Second; lived += 310 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			d := durabletest.NewDisk("/", 0)
			cut := time.Now().Add(lived)
			d.Fail = func(string, string) error {
				if time.Now().After(cut) {
					return durabletest.ErrPowerCut
				}
				return nil
			}
			r := start(t, d, recordingtest.Synthetic(25, 25, 500), archive.Retention{}, recording.Params{MaxLoss: maxLoss})
			r.feed(lived)
			time.Sleep(time.Until(cut) + time.Millisecond)
			if err := r.halt(); !errors.Is(err, durabletest.ErrPowerCut) {
				t.Errorf("ended by %v", err)
			}
			after := start(t, d.AfterPowerCut(rand.New(rand.NewPCG(1, 1))), r.src, archive.Retention{}, recording.Params{})
			after.stop()
			list := after.finished()
			if len(list) != 1 || !list[0].Repaired {
				t.Fatalf("%+v", list)
			}
			// One at a time is written, and here that takes no time.
			if lost := lived - time.Duration(list[0].Duration); lost > maxLoss/2+r.src.Interval {
				t.Errorf("cut after %v: %v lost", lived, lost)
			}
		})
	}
}
