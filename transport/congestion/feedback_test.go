package congestion

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
)

func marshal(t testing.TB, p *rtcp.TransportLayerCC) []byte {
	t.Helper()
	p.Header = rtcp.Header{Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback, Length: uint16(p.MarshalSize()/4 - 1)}
	raw, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func example(t testing.TB) []byte {
	return marshal(t, &rtcp.TransportLayerCC{
		BaseSequenceNumber: 65533, PacketStatusCount: 3 + 14 + 4, ReferenceTime: 1000,
		PacketChunks: []rtcp.PacketStatusChunk{
			&rtcp.RunLengthChunk{Type: rtcp.TypeTCCRunLengthChunk, PacketStatusSymbol: smallDelta, RunLength: 3},
			&rtcp.StatusVectorChunk{Type: rtcp.TypeTCCStatusVectorChunk, SymbolSize: rtcp.TypeTCCSymbolSizeOneBit, SymbolList: []uint16{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
			&rtcp.StatusVectorChunk{Type: rtcp.TypeTCCStatusVectorChunk, SymbolSize: rtcp.TypeTCCSymbolSizeTwoBit, SymbolList: []uint16{2, 0, 1, 2, 0, 0, 0}},
		},
		RecvDeltas: []*rtcp.RecvDelta{
			{Type: smallDelta, Delta: 0},
			{Type: smallDelta, Delta: 250},
			{Type: smallDelta, Delta: 63750},
			{Type: smallDelta, Delta: 1000},
			{Type: smallDelta, Delta: 1000},
			{Type: largeDelta, Delta: -250},
			{Type: smallDelta, Delta: 500},
			{Type: largeDelta, Delta: 100_000},
		},
	})
}

// All three kinds of chunks, and both sizes of deltas.
func TestParse(t *testing.T) {
	var r report
	if err := r.parse(example(t)); err != nil {
		t.Fatal(err)
	}
	if r.base != 65533 || r.reference != 1000 || len(r.symbols) != 21 {
		t.Fatalf("base %d, reference %d, %d packets", r.base, r.reference, len(r.symbols))
	}
	var got []time.Duration
	for _, s := range r.symbols {
		if s != notReceived {
			got = append(got, r.delta(s))
		}
	}
	want := []time.Duration{0, 250, 63750, 1000, 1000, -250, 500, 100_000} // µs
	for i := range want {
		if got[i] != want[i]*time.Microsecond {
			t.Errorf("delta %d is %v, want %v", i, got[i], want[i]*time.Microsecond)
		}
	}
}

func TestFeedbackIsRefused(t *testing.T) {
	whole := example(t)
	tooMany := append([]byte(nil), whole...)
	tooMany[14], tooMany[15] = 0xff, 0xff
	for name, raw := range map[string][]byte{
		"nothing":       nil,
		"header only":   whole[:19],
		"no chunks":     whole[:20],
		"no deltas":     whole[:26],
		"too many":      tooMany,
		"zero run only": append(append([]byte(nil), whole[:20]...), 0, 0, 0, 0),
	} {
		if _, err := NewEstimator().Feedback(raw, time.Now()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Feedback that was never asked for, told twice, or of packets that were never
// sent changes nothing and harms nothing.
func TestEstimatorBearsNonsense(t *testing.T) {
	e, now := NewEstimator(), time.Now()
	for range 3 {
		if _, err := e.Feedback(example(t), now); err != nil {
			t.Fatal(err)
		}
	}
	if e.Target() != Unlimited {
		t.Errorf("the target is %d", e.Target())
	}
}

// Sending and hearing must not allocate: it happens for every packet of every
// viewer.
func TestEstimatorDoesNotAllocate(t *testing.T) {
	e, now, raw := NewEstimator(), time.Now(), example(t)
	number := uint16(65533)
	if n := testing.AllocsPerRun(100, func() {
		for range 21 {
			e.Sent(number, 1200, now)
			number++
		}
		number -= 21
		now = now.Add(20 * time.Millisecond)
		_, _ = e.Feedback(raw, now)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzFeedback compares with pion's parser: what both accept means the same.
func FuzzFeedback(f *testing.F) {
	f.Add(example(f))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e := NewEstimator()
		now := time.Unix(1_700_000_000, 0)
		for i := range 300 {
			e.Sent(uint16(65533+i), 1200, now.Add(time.Duration(i)*time.Millisecond))
		}
		for range 3 {
			now = now.Add(100 * time.Millisecond)
			_, _ = e.Feedback(raw, now)
		}
		if target := e.Target(); target < minTarget || target > Unlimited {
			t.Fatalf("the target is %d", target)
		}

		var r report
		var other rtcp.TransportLayerCC
		if r.parse(raw) != nil || other.Unmarshal(raw) != nil {
			return
		}
		if r.base != other.BaseSequenceNumber || r.reference != other.ReferenceTime || len(r.symbols) != int(other.PacketStatusCount) {
			t.Fatalf("read %d %d %d, pion reads %v", r.base, r.reference, len(r.symbols), other)
		}
		i := 0
		for _, s := range r.symbols {
			if s == notReceived {
				continue
			}
			if i == len(other.RecvDeltas) {
				t.Fatalf("more deltas than pion's %d", i)
			}
			if got, want := r.delta(s).Microseconds(), other.RecvDeltas[i].Delta; got != want {
				t.Fatalf("delta %d is %d µs, pion reads %d", i, got, want)
			}
			i++
		}
	})
}

func BenchmarkEstimator(b *testing.B) {
	e, now, raw := NewEstimator(), time.Now(), example(b)
	for b.Loop() {
		for i := range 21 {
			e.Sent(uint16(65533+i), 1200, now)
		}
		now = now.Add(20 * time.Millisecond)
		_, _ = e.Feedback(raw, now)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/21, "ns/packet")
}
