package e2e

import (
	"fmt"
	"time"

	"github.com/chromedp/chromedp"
)

// watchShown notes each picture that the page shows: by how many ms it is later
// than the first by the media's own clock.
const watchShown = `{
	globalThis.shown = [];
	const video = document.querySelector('video');
	let first;
	video.requestVideoFrameCallback(function frame(now, { rtpTimestamp }) {
		first ??= { at: now, rtp: rtpTimestamp };
		shown.push(now - first.at - ((rtpTimestamp - first.rtp) | 0) / 90);
		video.requestVideoFrameCallback(frame);
	});
}`

// second is what the page shows for a second: pictures shown and decoded, and by
// how much the one in the middle is later than the earliest ever was, in ms.
const second = `(async () => {
	const decoded = async () =>
		[...(await pcs.at(-1).getStats()).values()].find((s) => s.type === 'inbound-rtp' && s.kind === 'video')?.framesDecoded ?? 0;
	const [from, before] = [shown.length, await decoded()];
	await new Promise((resolve) => setTimeout(resolve, 1000));
	const late = shown.slice(from).sort((a, b) => a - b);
	return { shown: late.length, decoded: (await decoded()) - before, late: late.length ? late[late.length >> 1] - Math.min(...shown) : 0 };
})()`

// watchShown begins to note what the page shows. It is for one connection.
func (b *tab) watchShown() {
	b.t.Helper()
	b.do(chromedp.Evaluate(watchShown, nil))
}

// waitSmooth waits for a second in which the picture is smooth and of the
// present: nearly all pictures of a camera of 30 fps are decoded, nearly all of
// those are shown, and they are as old as they were when watchShown began.
func (b *tab) waitSmooth(when string, limit time.Duration) {
	b.t.Helper()
	start := time.Now()
	var seen []string
	for time.Since(start) < limit {
		s := eval[struct {
			Shown, Decoded int
			Late           float64
		}](b, second)
		seen = append(seen, fmt.Sprintf("%d of %d shown, %.0f ms late", s.Shown, s.Decoded, s.Late))
		if s.Decoded >= 24 && 10*s.Shown >= 8*s.Decoded && s.Late < 300 {
			b.t.Logf("%s the picture is smooth after %v: %v", when, time.Since(start).Round(time.Second/10), seen)
			return
		}
	}
	b.t.Fatalf("%s the picture is not smooth within %v: %v\nthe page says: %s", when, limit, seen, b.text())
}
