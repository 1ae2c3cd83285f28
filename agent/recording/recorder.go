// Package recording records the stream of a camera, untouched, always or
// between a start and a stop, with the seconds before the start in front.
//
// A [Recorder] decides what is recorded and where one recording ends and the
// next begins; package archive writes it, and keeps it.
package recording

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/agent/retry"
	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/capture/aac"
	"github.com/lenscast/lenscast/capture/h264"
)

const (
	// queue is how many pictures may wait while the disk is slow: 10 s of
	// 60 fps.
	queue = 600

	// silence ends a recording: so long after the last picture nobody knows
	// when the next one comes.
	silence = 10 * time.Second

	// gap is the least time between two pictures that counts as one with
	// pictures missing, if it is also four times the usual.
	gap = 250 * time.Millisecond

	// roomToStart is what must be free to begin a recording, in bytes, so
	// that a full disk doesn't make a thousand short ones.
	roomToStart = 32 << 20

	// lookForRoom is how often a full disk is looked at.
	lookForRoom = 5 * time.Second

	// wishEvery is how often an IDR is asked for that would end a recording.
	wishEvery = time.Second
)

// Params says what is recorded, and how. All but Camera, Stream, Archive and
// Log have defaults.
type Params struct {
	Camera  string
	Stream  *stream.Stream
	Archive *archive.Archive
	Log     *slog.Logger

	// Segment is the length of a recording, and SegmentSize its size in
	// bytes: at the next IDR after either, the next one begins. Defaults:
	// 10 minutes, any size.
	Segment     time.Duration
	SegmentSize int64
	// MaxLoss is how much of the running recording is lost when the power
	// goes: half of it collects in memory while the other half is being
	// written. Default 2 s. More of it means fewer writes.
	MaxLoss time.Duration
	// Manual waits for Start. What was started goes on until Stop, also
	// after a power cut. Otherwise all is recorded.
	Manual bool
	// Audio says that the sound is recorded, too, if there is any.
	Audio bool
	// PreRoll is how much of what came before Start is recorded too, and
	// PreRollSize how many bytes of memory it may take: with more, it is
	// shorter. Defaults: the current group of pictures, 32 MiB.
	PreRoll     time.Duration
	PreRollSize int
	// GapReason, when set, tells why no pictures came of late, for people.
	GapReason func() string
}

// Recorder records one camera.
type Recorder struct {
	p Params

	mu     sync.Mutex
	status Status
	poke   context.CancelFunc // ends Run's wait for a picture, nil before Run

	// The rest belongs to Run.
	reader   *stream.Reader
	audio    *stream.AudioReader // nil when no sound is recorded
	ring     preRoll
	writer   *archive.Writer
	begun    time.Duration // PTS of the first picture written
	last     picture       // the last one written
	interval time.Duration // between the last two
	sps, pps []byte        // of the recording
	dropped  uint64        // by the reader, when last looked at
	wished   time.Time     // when an IDR was last asked for
	retryAt  time.Time
	settling chan error // gives the result of a Finish, nil when none runs
	backoff  *retry.Backoff

	newest    *aac.Frame // the last frame of sound that came, and when
	audioAt   time.Time
	audioLost uint64          // by the reader of it, when last looked at
	late      *archive.Writer // ended, and waits for its last sound; nil mostly
}

// New makes a recorder.
func New(p Params) *Recorder {
	if p.Segment <= 0 {
		p.Segment = 10 * time.Minute
	}
	if p.MaxLoss <= 0 {
		p.MaxLoss = 2 * time.Second
	}
	if p.PreRollSize <= 0 {
		p.PreRollSize = 32 << 20
	}
	if p.GapReason == nil {
		p.GapReason = func() string { return "no pictures came" }
	}
	r := &Recorder{
		p:       p,
		ring:    preRoll{length: p.PreRoll, limit: p.PreRollSize},
		backoff: retry.New(retry.Policy{Floor: time.Second, Cap: time.Minute}),
	}
	r.status = Status{State: Standby, Since: time.Now(), Wanted: !p.Manual || p.Archive.Wanted(p.Camera)}
	return r
}

// Run records until ctx or the stream ends. It returns an error only when the recording
// that ran then could not be finished: it will be at the next start.
func (r *Recorder) Run(ctx context.Context) error {
	r.reader = r.p.Stream.Subscribe(stream.AtOnce, queue)
	defer r.reader.Close()
	if r.p.Audio {
		r.audio = r.p.Stream.SubscribeAudio(maxAudio)
		defer r.audio.Close()
	}
	defer r.ring.clear()
	alarm := time.AfterFunc(silence, r.nudge)
	defer alarm.Stop()
	wait := r.arm(ctx)
	for {
		au, err := r.reader.Next(wait)
		switch {
		case err == nil:
			alarm.Reset(silence)
			r.collectAudio()
			r.take(picture{au, time.Now()})
		case ctx.Err() != nil || errors.Is(err, stream.ErrClosed):
			r.nudge() // lets go of the context
			r.collectAudio()
			return errors.Join(r.finish(0), r.settle())
		default: // nudged
			wait = r.arm(ctx)
			r.lookAround()
		}
	}
}

// arm returns a context that ends with ctx, or by nudge.
func (r *Recorder) arm(ctx context.Context) context.Context {
	wait, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.poke != nil {
		r.poke()
	}
	r.poke = cancel
	return wait
}

// lookAround does what need not wait for a picture.
func (r *Recorder) lookAround() {
	r.collectAudio()
	switch {
	case r.writer != nil && !r.wanted():
		r.end(Standby)
	case r.writer != nil && time.Since(r.last.arrived) >= silence:
		r.end(Waiting)
	case r.writer == nil:
		r.begin()
	}
	r.remember()
}

// take takes the next picture.
func (r *Recorder) take(pic picture) {
	if r.writer != nil {
		r.write(pic)
		return
	}
	r.ring.add(pic)
	r.begin()
}

// begin begins a recording with what the ring holds, if one is wanted.
func (r *Recorder) begin() {
	if !r.wanted() {
		r.enter(Standby, nil)
		r.showPreRoll()
		return
	}
	now := time.Now()
	if now.Before(r.retryAt) {
		return
	}
	if len(r.ring.pictures) == 0 {
		if r.retryAt.IsZero() {
			r.enter(Waiting, nil)
		}
		r.wish(now)
		return
	}
	if err := r.p.Archive.Room(roomToStart); err != nil {
		r.failed(err)
		return
	}
	first := r.ring.pictures[0]
	w, err := r.p.Archive.Create(r.p.Camera, first.au, now.Sub(first.arrived), r.p.MaxLoss/2)
	if err != nil {
		r.failed(err)
		return
	}
	r.expectAudio(w, now)
	r.writer, r.begun, r.last, r.interval, r.dropped = w, first.au.PTS, first, 0, r.reader.Dropped()
	r.sps, r.pps = parameterSets(first.au)
	r.enter(Recording, nil)
	pictures := r.ring.pictures[1:]
	r.ring.pictures, r.ring.bytes = nil, 0
	for _, pic := range pictures {
		r.take(pic)
	}
	r.showPreRoll()
}

// showPreRoll puts the length of the ring into the status.
func (r *Recorder) showPreRoll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.PreRoll = archive.Seconds(r.ring.span())
}

// write adds a picture to the recording, or to the next one.
func (r *Recorder) write(pic picture) {
	step := pic.au.PTS - r.last.au.PTS
	if took := pic.arrived.Sub(r.last.arrived); step <= 0 || step > silence && step > took+time.Second {
		// The source's clock jumped: so long it did not take. The time of a
		// recording never jumps.
		r.cut(0)
		r.take(pic)
		return
	}
	// Half a picture early is not too early: durations are rounded.
	due := r.writer.Duration()+step+step/2 >= r.p.Segment || r.p.SegmentSize > 0 && r.writer.Size() >= r.p.SegmentSize
	if pic.au.Key && (due || r.formatChanged(pic.au)) {
		r.cut(pic.au.PTS)
		r.take(pic)
		return
	}
	if due {
		r.wish(pic.arrived)
	}
	if step > gap && r.interval > 0 && step > 4*r.interval {
		r.writer.Gap(pic.au.PTS, r.gapReason())
	} else {
		r.interval = step
	}
	r.last = pic
	r.writeAudio(pic.au.PTS)
	err := r.writer.Write(pic.au)
	if err == nil {
		r.retryAt = time.Time{}
		r.backoff.Reset()
		return
	}
	if errors.Is(err, archive.ErrFull) {
		if ferr := r.finish(0); ferr != nil {
			err = ferr
		}
	} else {
		r.writer.Abandon()
		r.writer = nil
	}
	r.failed(err)
}

func (r *Recorder) gapReason() string {
	if n := r.reader.Dropped() - r.dropped; n > 0 {
		r.dropped += n
		return fmt.Sprintf("the disk was too slow: %d pictures dropped", n)
	}
	return r.p.GapReason()
}

// end ends the recording and enters a state.
func (r *Recorder) end(s State) {
	if r.cut(0) {
		r.enter(s, nil)
	}
}

// cut ends the recording, and reports whether that went well. next is the PTS
// of the picture that follows, or 0.
func (r *Recorder) cut(next time.Duration) bool {
	err := r.finish(next)
	if err != nil {
		r.failed(err)
	}
	return err == nil
}

// finish makes the last pictures durable, and lets the rest, that takes a
// while on a slow card, be done beside the next recording. If that follows at
// once, with the picture at next, the sound that is on its way is waited for.
func (r *Recorder) finish(next time.Duration) error {
	r.finishLate()
	if r.writer == nil {
		return nil
	}
	r.writeAudio(cmp.Or(next, r.last.au.PTS+r.interval))
	w := r.writer
	r.writer = nil
	if err := w.End(next); err != nil {
		w.Abandon()
		return err
	}
	if next != 0 && w.HasAudio() && !r.audioPassed(next) {
		r.late = w
	} else {
		r.finishBeside(w)
	}
	return nil
}

// finishBeside finishes a recording beside the next one.
func (r *Recorder) finishBeside(w *archive.Writer) {
	if err := r.settle(); err != nil {
		r.p.Log.Error("a recording could not be finished; it will be", "camera", r.p.Camera, "error", err)
	}
	r.settling = make(chan error, 1)
	go func(done chan<- error) { done <- w.Finish() }(r.settling)
}

// settle waits until the recording before is finished.
func (r *Recorder) settle() error {
	if r.settling == nil {
		return nil
	}
	err := <-r.settling
	r.settling = nil
	return err
}

// failed says why there is no recording, and when to try again.
func (r *Recorder) failed(err error) {
	r.finishLate()
	if errors.Is(err, archive.ErrFull) {
		r.retryAt = time.Now().Add(lookForRoom)
		r.enter(Full, err)
		return
	}
	r.retryAt = time.Now().Add(r.backoff.Next())
	r.enter(Failed, err)
}

// wish asks for an IDR, now and then.
func (r *Recorder) wish(now time.Time) {
	if now.Sub(r.wished) >= wishEvery {
		r.wished = now
		r.reader.RequestKeyframe()
	}
}

func (r *Recorder) formatChanged(au *h264.AccessUnit) bool {
	sps, pps := parameterSets(au)
	return !bytes.Equal(sps, r.sps) || !bytes.Equal(pps, r.pps)
}

// parameterSets returns the first of each: the header of a file has one.
func parameterSets(au *h264.AccessUnit) (sps, pps []byte) {
	for _, nalu := range au.NALUs {
		switch h264.TypeOf(nalu) {
		case h264.NALUSPS:
			if sps == nil {
				sps = nalu
			}
		case h264.NALUPPS:
			if pps == nil {
				pps = nalu
			}
		}
	}
	return sps, pps
}
