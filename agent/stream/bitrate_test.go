package stream_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/agent/stream"
)

const mbit = 1_000_000

// follower is a source that follows a bitrate.
type follower struct{ set []int }

func (f *follower) bitrate(asked, least int) stream.Bitrate {
	return stream.Bitrate{Asked: asked, Least: least, Set: func(n int) { f.set = append(f.set, n) }}
}

func (f *follower) last() int {
	if len(f.set) == 0 {
		return 0
	}
	return f.set[len(f.set)-1]
}

func TestOneBitrateForAllReaders(t *testing.T) {
	type reader struct {
		role   stream.Role
		afford int
	}
	for name, test := range map[string]struct {
		readers []reader
		want    int
		by      string
	}{
		"nobody":                    {nil, 8 * mbit, ""},
		"nobody knows":              {[]reader{{stream.Viewer, 0}, {stream.Push, 0}, {stream.Keeper, 0}}, 8 * mbit, ""},
		"more than asked":           {[]reader{{stream.Viewer, 20 * mbit}}, 8 * mbit, ""},
		"one viewer":                {[]reader{{stream.Viewer, 2 * mbit}}, 2 * mbit, "r0"},
		"one push":                  {[]reader{{stream.Push, 2 * mbit}}, 2 * mbit, "r0"},
		"slowest push":              {[]reader{{stream.Push, 5 * mbit}, {stream.Push, 3 * mbit}}, 3 * mbit, "r1"},
		"a bad viewer among good":   {[]reader{{stream.Viewer, 6 * mbit}, {stream.Viewer, mbit}}, 3 * mbit, "r1"},
		"two viewers of a kind":     {[]reader{{stream.Viewer, 5 * mbit}, {stream.Viewer, 4 * mbit}}, 4 * mbit, "r1"},
		"a bad viewer and a push":   {[]reader{{stream.Push, 6 * mbit}, {stream.Viewer, mbit}}, 3 * mbit, "r1"},
		"a bad push, a good viewer": {[]reader{{stream.Push, mbit}, {stream.Viewer, 8 * mbit}}, mbit, "r0"},
		"a viewer and a recording":  {[]reader{{stream.Viewer, mbit}, {stream.Keeper, 0}}, 4 * mbit, "r0"},
		"a push and a recording":    {[]reader{{stream.Push, mbit}, {stream.Keeper, 0}}, mbit, "r0"},
		"less than the least":       {[]reader{{stream.Push, mbit / 10}}, mbit / 2, "r0"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := stream.New()
			var f follower
			s.OnBitrateWish(f.bitrate(8*mbit, mbit/2))
			for i, r := range test.readers {
				reader := s.Subscribe(stream.AtOnce, 10).As(r.role, string([]byte{'r', byte('0' + i)}))
				defer reader.Close()
				reader.Afford(r.afford)
			}
			if got := s.Stats(); got.LimitedBy != test.by {
				t.Errorf("%s: limited by %q, want %q", name, got.LimitedBy, test.by)
			}
			// The order of telling must not matter: wait for the raise.
			if got := f.settle(s); got != test.want {
				t.Errorf("%s: the source is told %d bit/s, want %d", name, got, test.want)
			}
		})
	}
}

// settle publishes for as long as any raise takes, and returns the bitrate.
func (f *follower) settle(s *stream.Stream) int {
	feed := feeder{s: s}
	for range 300 {
		time.Sleep(interval)
		feed.publish(true)
	}
	if told := s.Stats().Told; f.last() == 0 || f.last() == told {
		return told
	}
	return -1 // it was told another one than it says
}

func TestBitrateFallsAtOnceAndRisesByAndBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New()
		var f follower
		s.OnBitrateWish(f.bitrate(8*mbit, mbit/2))
		feed := feeder{s: s}
		slow := s.Subscribe(stream.AtOnce, 10).As(stream.Push, "slow")
		slow.Afford(2 * mbit)
		if f.last() != 2*mbit {
			t.Fatalf("the source was set to %d", f.last())
		}
		for range 30 {
			time.Sleep(interval)
			feed.publish(true)
		}
		slow.Close() // it was in the way of all
		rose := time.Duration(0)
		for ; f.last() < 8*mbit; rose += interval {
			if rose > 10*time.Second {
				t.Fatalf("after %v the source is at %d", rose, f.last())
			}
			before := f.last()
			time.Sleep(interval)
			feed.publish(true)
			if f.last() > before*11/10 {
				t.Fatalf("from %d to %d at once", before, f.last())
			}
		}
		if rose < 2*time.Second {
			t.Errorf("from 2 to 8 Mbit/s in %v", rose)
		}
	})
}

// A source that can't follow is not asked, and its slow readers get the first
// part of each group of pictures.
func TestSlowReaderGetsIntactParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New()
		keys := 0
		s.OnKeyframeWish(func() { keys++ })
		feed := feeder{s: s}
		slow := s.Subscribe(stream.AtOnce, 100).As(stream.Viewer, "slow")
		defer slow.Close()
		slow.Afford(60_000) // of 240,000
		got, broken, newest := 0, 0, time.Duration(0)
		for n := range 600 { // 20 s in groups of 1 s
			feed.publish(n%30 == 0)
			time.Sleep(interval)
			if n%4 != 0 || slow.Len() == 0 { // takes a quarter
				continue
			}
			au, err := slow.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !au.Key && au.PTS != newest+interval {
				broken++
			}
			got, newest = got+1, au.PTS
			if lag := time.Duration(n)*interval - newest; n > 60 && lag > 500*time.Millisecond {
				t.Fatalf("picture %d is %v late", n, lag)
			}
		}
		if broken > 0 || got < 80 {
			t.Errorf("%d pictures, %d without the one before", got, broken)
		}
		if !slow.Late() || slow.Dropped() == 0 {
			t.Error("nothing tells that pictures are left out")
		}
		if keys > 3 {
			t.Errorf("%d keyframes were asked for: they cost all others", keys)
		}
	})
}
