package yield

import (
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

const (
	// flowLength is how much of the past a flow remembers.
	flowLength = time.Second
	// doubtSegments are not loss yet (tail loss probes, RFC 8985 section 7).
	doubtSegments = 8
)

// flow is how many bytes went out and came through in the last second.
type flow []mark

// mark is what the kernel had counted at a time, in bytes.
type mark struct {
	at                  time.Time
	sent, acked, resent uint64
}

// add takes newer figures.
func (f *flow) add(now time.Time, info filetransfer.TCPInfo) {
	m := mark{now, info.Sent, info.Acked, info.Resent}
	if n := len(*f); n > 0 && (m.acked < (*f)[n-1].acked || m.sent < (*f)[n-1].sent) {
		*f = (*f)[:0] // another connection
	}
	*f = append(*f, m)
	old := 0
	for now.Sub((*f)[old].at) > flowLength {
		old++
	}
	*f = append((*f)[:0], (*f)[old:]...)
}

// newest returns the last mark.
func (f flow) newest() mark {
	if len(f) == 0 {
		return mark{}
	}
	return f[len(f)-1]
}

// rates returns what went out and came through lately, in bit/s.
func (f flow) rates(lately time.Duration) (sent, acked float64) {
	last := f.newest()
	for _, m := range f {
		elapsed := last.at.Sub(m.at)
		if elapsed > lately || elapsed <= 0 {
			continue
		}
		s := elapsed.Seconds()
		sent = float64(last.sent-m.sent) * 8 / s
		acked = float64(last.acked-m.acked) * 8 / s
		break
	}
	return sent, acked
}

// loss returns the share of the last second's bytes that was sent again; 0 for
// some segments only, which a kernel sends again when it doubts.
func (f flow) loss(segment int) float64 {
	if len(f) == 0 {
		return 0
	}
	last := f.newest()
	resent, sent := last.resent-f[0].resent, last.sent-f[0].sent
	if resent < uint64(doubtSegments*segment) {
		return 0
	}
	return float64(resent) / float64(sent)
}

// overdue returns for how long something that was sent has not been
// acknowledged: the round trip is at least that. Two segments don't count,
// whose acknowledgement may be delayed on purpose.
func (f flow) overdue(segment int) time.Duration {
	last := f.newest()
	for _, m := range f {
		if m.sent > m.resent+last.acked+uint64(2*segment) {
			return last.at.Sub(m.at)
		}
	}
	return 0
}
