package packet

import (
	"testing"
	"time"
)

// comes reports whether the alarm rings within d.
func comes(rings <-chan time.Time, d time.Duration) bool {
	select {
	case <-rings:
		return true
	case <-time.After(d):
		return false
	}
}

func TestAlarmRingsOnceWhenNotPutOff(t *testing.T) {
	rings := make(chan time.Time, 100)
	a, err := NewAlarm(func() { rings <- time.Now() })
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if comes(rings, 20*time.Millisecond) {
		t.Error("rang before it was set")
	}
	a.Set(time.Hour)
	begun := time.Now()
	a.Set(10 * time.Millisecond)
	select {
	case at := <-rings:
		if d := at.Sub(begun); d < 10*time.Millisecond {
			t.Errorf("rang after %v", d)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("did not ring")
	}
	if comes(rings, 30*time.Millisecond) {
		t.Error("rang twice")
	}
	a.Set(-1) // what is due already rings at once
	if !comes(rings, 10*time.Second) {
		t.Error("did not ring for a time that has passed")
	}
	a.Set(time.Minute)
	a.Set(time.Hour)
	if comes(rings, 20*time.Millisecond) {
		t.Error("rang although it was put off")
	}
}

func TestAlarmIsSilentAfterClose(t *testing.T) {
	ringing, done := make(chan bool), false
	a, err := NewAlarm(func() {
		ringing <- true
		done = true
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Set(1)
	<-ringing
	a.Close()
	if !done {
		t.Error("closed while it rang")
	}
	a.Set(1)
	select {
	case <-ringing:
		t.Error("rang after Close")
	case <-time.After(20 * time.Millisecond):
	}
}

func BenchmarkAlarmSet(b *testing.B) {
	a, err := NewAlarm(func() {})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	b.ReportAllocs()
	for b.Loop() {
		a.Set(time.Minute)
	}
}
