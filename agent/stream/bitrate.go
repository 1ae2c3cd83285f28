package stream

import "time"

// Role says what a reader is, which decides how much its wish for a bitrate
// counts.
type Role int

// The roles.
const (
	// Keeper takes whatever comes, as a recording does.
	Keeper Role = iota
	// Viewer may slow the camera down, but not at the cost of all others.
	Viewer
	// Push is what the camera is there for: it is followed all the way.
	Push
)

const (
	// viewersShare is down to which share of what the best reader affords a
	// viewer is followed.
	viewersShare = 0.5

	// raiseStep is how fast the bitrate grows, a second: a reader that was
	// in the way may be gone, but what the others really afford has yet to
	// be seen.
	raiseStep = 0.5

	// leastChange is the least raise worth telling the encoder.
	leastChange = 0.02
)

// Bitrate is how a source is told what its readers afford.
type Bitrate struct {
	Asked int       // bit/s, the most
	Least int       // bit/s, the least, whatever readers afford
	Set   func(int) // sets the bitrate of the source; must not block
}

// bitrateWish makes one bitrate of what all readers afford. All of it is
// guarded by the stream's mutex.
type bitrateWish struct {
	to     Bitrate // Set is nil when the source can't follow
	goal   int     // what readers afford, within Asked and Least
	now    int     // what the source was told
	by     string  // name of the reader that decides goal, empty when it is Asked
	raised time.Time
}

// decide finds out what all readers afford together:
//
//   - The slowest push decides: it is what the camera is there for.
//   - The slowest viewer decides, but not below half of what the best reader
//     affords. Below that it is shown part of each group of pictures. Whoever
//     told nothing affords everything, so beside a recording no viewer takes
//     more than half.
//   - Never more than was asked for, never less than the least.
func decide(to Bitrate, readers map[*Reader]struct{}) (rate int, by string) {
	best := 0
	for r := range readers {
		best = max(best, r.affords(to.Asked))
	}
	rate = to.Asked
	for r := range readers {
		affords := r.affords(to.Asked)
		if r.role == Viewer {
			affords = max(affords, int(viewersShare*float64(best)))
		}
		if affords < rate {
			rate, by = affords, r.name
		}
	}
	if rate < to.Least {
		rate = to.Least
	}
	return rate, by
}

// OnBitrateWish sets how the source follows what its readers afford. A zero
// Bitrate says that it can't.
func (s *Stream) OnBitrateWish(to Bitrate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bitrate = bitrateWish{to: to, goal: to.Asked, now: to.Asked}
	s.reconsider()
}

// reconsider is called whenever a reader comes, goes, or affords another rate.
// Down goes at once, up by and by. s.mu is held.
func (s *Stream) reconsider() {
	w := &s.bitrate
	if w.to.Set == nil {
		return
	}
	w.goal, w.by = decide(w.to, s.readers)
	if w.goal < w.now {
		w.now = w.goal
		w.to.Set(w.now)
	}
}

// raise brings the bitrate nearer to the goal. It is called for every picture;
// s.mu is held.
func (w *bitrateWish) raise(now time.Time) {
	elapsed := min(now.Sub(w.raised).Seconds(), 1)
	next := min(w.goal, w.now+int(raiseStep*elapsed*float64(w.now)))
	if w.to.Set == nil || w.now >= w.goal {
		w.raised = now
		return
	}
	if next < w.goal && float64(next-w.now) < leastChange*float64(w.now) {
		return
	}
	w.now, w.raised = next, now
	w.to.Set(next)
}

// As tells what the reader is, and its name for people: "push to srt://...".
// It returns the reader, and is called before anything else.
func (r *Reader) As(role Role, name string) *Reader {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	r.role, r.name = role, name
	return r
}

// Afford tells how many bit/s the way to the reader's other end carries. 0 says
// that there is no limit, or that it is not known.
//
// The source follows as the stream's policy says. Where it does not follow so
// far, the reader leaves out what would come too late: what waits for longer
// than 400 ms is dropped up to the next IDR.
func (r *Reader) Afford(bitsPerSecond int) {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	r.mu.Lock()
	same := r.afford == bitsPerSecond
	r.afford = bitsPerSecond
	r.mu.Unlock()
	if !same {
		r.stream.reconsider()
	}
}

// affords returns what the reader affords, at most as much as was asked for.
// The stream's mutex is held.
func (r *Reader) affords(asked int) int {
	if r.role == Keeper || r.afford == 0 {
		return asked
	}
	return min(r.afford, asked)
}
