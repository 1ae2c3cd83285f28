package main

import (
	"slices"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture/encode"
)

// rareKeys is a camera that makes no IDR in time unless it is asked to.
const rareKeys = "[[camera]]\nname = \"front\"\nsource = \"test\"\nkeyframe_interval = \"1m\"\n"

func startEncodingAgent(t testing.TB, camera string) *testAgent {
	t.Helper()
	if !encode.HaveSoftware {
		t.Skip("this build has no encoder that makes an IDR when asked")
	}
	a := startAgent(t, head+camera)
	a.await("/api/status", `"name":"front".*"state":"live"`)
	return a
}

// From the viewer's wish to the encoder's IDR, through all of the agent.
func TestKeyframeComesWhenAsked(t *testing.T) {
	a := startEncodingAgent(t, rareKeys+"size = \"320x180\"\n")
	v := a.watch("front", "")
	v.awaitKey(t)
	v.askForKey(t)
	v.awaitKey(t)
	if took := a.end(); took > stopTimeout {
		t.Errorf("the end took %v, more than %v", took, stopTimeout)
	}
}

// BenchmarkKeyframe measures what a viewer of 1280x720 at 30 fps waits for an
// IDR of the live encoder, until its last packet is there. Both budgets are
// 100 ms. Run it with -benchtime 20x.
func BenchmarkKeyframe(b *testing.B) {
	a := startEncodingAgent(b, rareKeys)
	v := a.watch("front", "")
	last := v.awaitKey(b)

	// The first picture of a viewer that joins a group too long to catch up
	// with, which makes the encoder begin another.
	b.Run("POST", func(b *testing.B) {
		var waits []time.Duration
		for b.Loop() {
			time.Sleep(time.Until(last.Add(1500 * time.Millisecond)))
			joining := a.watch("front", "")
			last = joining.awaitKey(b)
			waits = append(waits, last.Sub(joining.posted))
			joining.pc.Close()
		}
		reportMedian(b, waits)
	})
	b.Run("PLI", func(b *testing.B) {
		var waits []time.Duration
		for b.Loop() {
			// The stream passes on one wish in 250 ms: that wait is not
			// to be measured.
			time.Sleep(time.Until(last.Add(300 * time.Millisecond)))
			for len(v.keys) > 0 {
				<-v.keys
			}
			asked := time.Now()
			v.askForKey(b)
			last = v.awaitKey(b)
			waits = append(waits, last.Sub(asked))
		}
		reportMedian(b, waits)
	})
}

func reportMedian(b *testing.B, waits []time.Duration) {
	slices.Sort(waits)
	b.ReportMetric(0, "ns/op") // it says nothing: most of it is sleep
	b.ReportMetric(waits[len(waits)/2].Seconds()*1000, "ms-median")
	b.ReportMetric(waits[len(waits)-1].Seconds()*1000, "ms-max")
}
