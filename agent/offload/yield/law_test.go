package yield

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// leaves is what a link leaves beside the live picture of a network, in bit/s
// of content: headers and all off.
func leaves(n *network) float64 {
	live := n.live * 1242 / 1200
	return (n.rate - live - n.other) * segment / (segment + headers)
}

// judge checks what the live picture felt lately against what it feels alone,
// and how much of the rest was used.
func judge(t *testing.T, n *network, share float64) {
	t.Helper()
	judgeResult(t, n, n.result(), share)
}

func judgeResult(t *testing.T, n *network, r result, share float64) {
	t.Helper()
	limit := alone(n, 10*time.Second).wait(0.99) + 15*time.Millisecond
	used := r.bulk() / leaves(n)
	t.Logf("live p50 %v p95 %v p99 %v (limit %v), %d lost; transfer %.2f Mbit/s, %.0f %% of what is left; %+v",
		r.wait(0.5), r.wait(0.95), r.wait(0.99), limit, r.lost, r.bulk()/1e6, 100*used, n.c.Status())
	if r.wait(0.99) > limit {
		t.Errorf("99 %% of the live packets wait up to %v, want at most %v", r.wait(0.99), limit)
	}
	if r.lost > 0 {
		t.Errorf("%d live packets are lost", r.lost)
	}
	if used < share {
		t.Errorf("the transfer got %.0f %% of what the live picture leaves, want %.0f %%", 100*used, 100*share)
	}
}

func TestSteadyLink(t *testing.T) {
	for _, rate := range []float64{100e6, 20e6, 8e6, 5e6} {
		n := newNetwork(rate)
		n.settle(5 * time.Second)
		n.run(60 * time.Second)
		judge(t, n, 0.6)
	}
}

// TestTransferAlone is the control: without yielding the same network holds up
// the live picture by far more than the tests above allow.
func TestTransferAlone(t *testing.T) {
	n := newNetwork(20e6)
	n.report.Active = false // the law lets go
	n.run(10 * time.Second)
	if r := n.result(); r.wait(0.5) < 50*time.Millisecond {
		t.Errorf("half of the live packets wait less than %v", r.wait(0.5))
	}
}

// The queue that stands when the link falls must drain; then all is as it was.
// The link falls at different moments of a picture and of the law.
func TestLinkFalls(t *testing.T) {
	var whole, after result
	var n *network
	for k := range 6 {
		n = newNetwork(20e6)
		n.run(40*time.Second + time.Duration(k)*97*time.Millisecond)
		whole = whole.and(n.result())
		n.rate = 5e6
		n.run(2 * time.Second)
		step := n.result()
		if step.lost > 0 || step.wait(0.99) > 200*time.Millisecond {
			t.Errorf("2 s after the fall: %d live packets are lost, 99 %% wait up to %v", step.lost, step.wait(0.99))
		}
		n.run(38 * time.Second)
		last := n.result()
		after, whole = after.and(last), whole.and(step).and(last)
	}
	judgeResult(t, n, after, 0.6)
	judgeResult(t, n, whole, 0) // the share is of two links
}

// Where little was under way, that tells how far the link has fallen all the
// same: the transfer must not go on as before.
func TestLinkFallsByLess(t *testing.T) {
	for k := range 33 {
		n := newNetwork(12e6)
		n.settle(20*time.Second + time.Duration(k)*31*time.Millisecond)
		n.rate = 5e6
		n.run(2 * time.Second)
		if step := n.result(); step.lost > 0 || step.wait(0.99) > 120*time.Millisecond {
			t.Errorf("2 s after fall %d: %d live packets are lost, 99 %% wait up to %v", k, step.lost, step.wait(0.99))
		}
	}
}

func TestLinkRises(t *testing.T) {
	n := newNetwork(5e6)
	n.run(20 * time.Second)
	n.rate = 20e6
	n.settle(10 * time.Second)
	n.run(20 * time.Second)
	judge(t, n, 0.6)
}

// The round trip of another route is no queue.
func TestRouteChanges(t *testing.T) {
	n := newNetwork(20e6)
	n.run(20 * time.Second)
	for _, path := range []time.Duration{30 * time.Millisecond, 5 * time.Millisecond} {
		n.path = path
		n.settle((baseSeconds + 5) * time.Second)
		n.run(20 * time.Second)
		judge(t, n, 0.6)
	}
}

func TestCrossTraffic(t *testing.T) {
	n := newNetwork(20e6)
	n.run(10 * time.Second)
	n.other = 8e6
	n.settle(2 * time.Second)
	n.run(30 * time.Second)
	judge(t, n, 0.6)
}

// Acknowledgements over the air come unevenly.
func TestJitter(t *testing.T) {
	n := newNetwork(20e6)
	n.jitter = 2 * time.Millisecond
	n.settle(5 * time.Second)
	n.run(30 * time.Second)
	judge(t, n, 0.4)
}

// So do stalls: a radio that scans, a machine that is busy.
func TestStalls(t *testing.T) {
	for _, rate := range []float64{20e6, 5e6} {
		n := newNetwork(rate)
		n.stall, n.every = 40*time.Millisecond, time.Second
		n.settle(10 * time.Second)
		n.run(60 * time.Second)
		judge(t, n, 0.45)
	}
}

// A machine that was busy sends pictures and pieces late, and at once. What
// waits then is soon gone, and no link has fallen.
func TestHeldUp(t *testing.T) {
	n := newNetwork(20e6)
	n.settle(20 * time.Second)
	var all result
	for k := range 20 {
		n.held = n.now + 50*time.Millisecond
		n.run(4*time.Second + time.Duration(k)*7*time.Millisecond)
		all = all.and(n.result())
	}
	judgeResult(t, n, all, 0.7)
}

// Beside a live picture that fills the link nearly, a transfer can only do
// little harm.
func TestNoRoom(t *testing.T) {
	n := newNetwork(4.4e6)
	n.settle(5 * time.Second)
	n.run(60 * time.Second)
	r := n.result()
	if limit := alone(n, 10*time.Second).wait(0.99) + 60*time.Millisecond; r.wait(0.99) > limit || r.lost > 0 {
		t.Errorf("99 %% of the live packets wait up to %v, want at most %v; %d lost", r.wait(0.99), limit, r.lost)
	}
}

// A picture that starts while the transfer goes at full speed meets its queue,
// and not for long.
func TestPictureStarts(t *testing.T) {
	n := newNetwork(20e6)
	n.live, n.report.Active = 0, false
	n.run(20 * time.Second)
	n.live, n.report.Active = 4e6, true
	n.settle(time.Second)
	n.run(20 * time.Second)
	judge(t, n, 0.4)
}

func TestReducedPauses(t *testing.T) {
	n := newNetwork(20e6)
	n.run(10 * time.Second)
	n.report.Reduced = true
	n.settle(time.Second)
	n.run(30 * time.Second)
	st := n.c.Status()
	if !st.Paused || !strings.HasPrefix(st.Reason, "paused: ") {
		t.Errorf("status %+v while the live bitrate is reduced", st)
	}
	// A receiver wants 64 KiB in 30 s, filetransfer's default.
	if got := n.result().bulk() * 30 / 8; got < 64<<10 || got > 256<<10 {
		t.Errorf("%.0f bytes in 30 s of pause", got)
	}
	n.report.Reduced = false
	n.settle(10 * time.Second)
	n.run(20 * time.Second)
	judge(t, n, 0.6)
}

func TestLiveSignals(t *testing.T) {
	for name, complain := range map[string]func(*Live){
		"loss":    func(l *Live) { l.Loss = 0.03 },
		"delay":   func(l *Live) { l.RTT += 60 * time.Millisecond },
		"dropped": func(l *Live) { l.Dropped++ },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(20e6)
			n.report.RTT = 10 * time.Millisecond
			n.run(10*time.Second + tick/2)
			for range lateReports {
				complain(&n.report)
				n.run(tick)
			}
			st := n.c.Status()
			if st.Rate > leastRate || !strings.HasPrefix(st.Reason, "yields: ") {
				t.Errorf("status %+v after a complaint", st)
			}
		})
	}
}

// A viewer whose own link is bad complains all the time, and stops nothing.
func TestComplaintsDoNotStarve(t *testing.T) {
	n := newNetwork(20e6)
	for i := range 120 {
		n.report.RTT = time.Duration(20+(i*i*37)%400) * time.Millisecond
		n.report.Loss = float64(i*i%7) / 100
		n.run(time.Second)
		if i == 60 {
			n.result()
		}
	}
	judge(t, n, 0.1)
}

// Loss that is there with and without the transfer is not the transfer's.
func TestUsualLoss(t *testing.T) {
	n := newNetwork(20e6)
	n.report.Loss = 0.03
	n.run(30 * time.Second)
	n.report.Loss = 0.035
	n.result()
	n.run(20 * time.Second)
	judge(t, n, 0.6)
}

func TestCapHolds(t *testing.T) {
	n := newNetwork(20e6)
	n.c.law.cap = 3e6
	n.settle(10 * time.Second)
	n.run(10 * time.Second)
	if r := n.result(); r.bulk() > 3e6 || r.bulk() < 2.7e6 {
		t.Errorf("%.2f Mbit/s, the cap is 3", r.bulk()/1e6)
	}
	if st := n.c.Status(); st.Reason != "at the rate that is set as its limit" {
		t.Errorf("status %+v", st)
	}
}

func TestFreeWithoutPicture(t *testing.T) {
	var set []int64
	p := Params{
		Live: func() Live { return Live{} },
		Path: func() (filetransfer.TCPInfo, bool) { return filetransfer.TCPInfo{}, false },
		Set:  func(rate int64) { set = append(set, rate) },
	}
	c := New(p)
	c.step(time.Unix(1, 0))
	if len(set) != 1 || set[0] != 0 {
		t.Errorf("set %v, want no limit", set)
	}
	p.Cap = 2e6
	c = New(p)
	c.step(time.Unix(1, 0))
	if set[1] != 4e6 { // Pace keeps the cap, the kernel only spaces packets
		t.Errorf("set %v, want the cap", set)
	}
}

// Who can't see the network does not use it much.
func TestBlind(t *testing.T) {
	n := newNetwork(20e6)
	n.c.p.Path = func() (filetransfer.TCPInfo, bool) { return filetransfer.TCPInfo{}, false }
	n.run(5 * time.Second)
	if st := n.c.Status(); st.Rate != leastRate {
		t.Errorf("status %+v without a view of the network", st)
	}
}

// The kernel's smoothing is undone exactly when its samples are seen one by one.
func TestGaugeUndoesSmoothing(t *testing.T) {
	g := newGauge()
	srtt, info := 0.010, filetransfer.TCPInfo{MinRTT: 10 * time.Millisecond}
	now := time.Unix(1, 0)
	for i, rtt := range []float64{0.010, 0.010, 0.050, 0.012, 0.010} {
		srtt += (rtt - srtt) / 8
		info.RTT = time.Duration(math.Round(srtt*1e6)) * time.Microsecond
		info.Acked += 2896
		info.Segments++
		now = now.Add(tick)
		w, fresh := g.take(now, info)
		want := time.Duration(math.Round((rtt - 0.010) * 1e9))
		if !fresh || (w.delay-want).Abs() > 20*time.Microsecond {
			t.Errorf("sample %d: %v, %v; want %v", i, w.delay, fresh, want)
		}
	}
	if _, fresh := g.take(now.Add(tick), info); fresh {
		t.Error("a sample without an acknowledgement")
	}
}
