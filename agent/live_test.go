package main

import (
	"testing"
	"time"
)

// Who comes, goes, or is far away makes no wait and no loss of packets.
func TestFeel(t *testing.T) {
	var f feel
	look := func(add func(before map[string]receiverFeel)) {
		before := f.receivers
		f.receivers, f.live.RTT, f.live.Active = make(map[string]receiverFeel), 0, false
		add(before)
	}
	look(func(b map[string]receiverFeel) { f.add(b, "near", 1e6, 5*time.Millisecond, 0, 7) })
	if f.live.RTT != time.Millisecond || f.live.Dropped != 0 || !f.live.Active {
		t.Errorf("the first: %+v", f.live)
	}
	look(func(b map[string]receiverFeel) {
		f.add(b, "near", 1e6, 5*time.Millisecond, 0, 9)
		f.add(b, "far", 1e6, 200*time.Millisecond, 0, 100)
	})
	if f.live.RTT != time.Millisecond || f.live.Dropped != 2 {
		t.Errorf("another one far away: %+v", f.live)
	}
	look(func(b map[string]receiverFeel) { f.add(b, "far", 1e6, 0, 0, 100) })
	look(func(b map[string]receiverFeel) { f.add(b, "far", 1e6, 260*time.Millisecond, 0, 101) })
	if f.live.RTT != 61*time.Millisecond || f.live.Dropped != 3 {
		t.Errorf("a queue: %+v", f.live)
	}
}
