package webrtc

import (
	"context"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

const (
	// catchUpStep is the distance of RTP timestamps while a viewer catches
	// up: the browser decodes as fast as it can, and shows the newest.
	catchUpStep = time.Millisecond

	// leastStep is more than a tick of the RTP clock.
	leastStep = 100 * time.Microsecond

	// maxBacklog bounds the pictures taken from the reader ahead of their
	// time; what comes on top stays in the reader's own bounded queue.
	maxBacklog = 2400
)

// playout takes pictures from a reader and decides when they are to be shown.
//
// A reader may begin with seconds of cached pictures. Shown at their own pace
// they would leave the viewer that far behind forever, so until the viewer has
// caught up the timestamps are compressed: the newest picture known keeps its
// own time, those before it are 1 ms apart. Never does time run backwards, also
// not from one reader to the next.
type playout struct {
	reader  Reader
	backlog []*h264.AccessUnit
	live    bool          // caught up
	after   time.Duration // every picture is shown after this, which is the one before
}

// next returns the next picture and the time on the capture clock at which it
// is to be shown, which is its PTS once the viewer is live.
func (p *playout) next(ctx context.Context) (*h264.AccessUnit, time.Duration, error) {
	au, show, err := p.take(ctx)
	if err != nil {
		return nil, 0, err
	}
	p.after = max(show, p.after+leastStep)
	return au, p.after, nil
}

// take returns the next picture and when it would be shown if it was the
// first.
func (p *playout) take(ctx context.Context) (*h264.AccessUnit, time.Duration, error) {
	if len(p.backlog) == 0 {
		au, err := p.reader.Next(ctx)
		if err != nil {
			return nil, 0, err
		}
		if p.live {
			return au, au.PTS, nil
		}
		p.backlog = append(p.backlog, au)
	}
	for p.reader.Len() > 0 && len(p.backlog) < maxBacklog {
		au, err := p.reader.Next(ctx)
		if err != nil {
			return nil, 0, err
		}
		if au.Key { // the shortest way to the newest picture
			p.backlog = p.backlog[:0]
		}
		p.backlog = append(p.backlog, au)
	}
	au := p.backlog[0]
	behind := len(p.backlog) - 1
	show := p.backlog[behind].PTS - time.Duration(behind)*catchUpStep
	p.backlog = p.backlog[1:]
	if behind == 0 {
		p.live, p.backlog = true, nil
	}
	return au, show, nil
}
