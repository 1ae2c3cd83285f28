package mpegts

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

// demuxer takes the access units of one H.264 track out of a transport stream,
// and the frames of the AAC track beside it. The former is
// the first that the tables announce and on which anything comes, the latter
// the first of the same program; all others are ignored.
type demuxer struct {
	tables tables
	units  unitBuilder
	lost   func(reason string)

	video     uint16 // PID, 0 while there is none
	counter   uint8
	counting  bool // counter is that of the packet before
	last      [packetSize]byte
	lastSize  int
	scrambled bool // the newest packet of the track was

	sound    audioBuilder
	audio    uint16 // PID, 0 while there is none
	describe func(text string)
	changes  int // of the tables, when the sound was last described

	others [pidNull]continuity // of the other PIDs
}

// continuity watches the counter of a PID that is not shown. When packets of
// sound are missing, those of the picture around them are likely to be, too,
// also if by chance their own counter fits.
type continuity struct {
	counter uint8
	run     uint8 // packets in order, up to provenRun
}

// provenRun is the number of packets that a PID must count right before a gap
// counts: some muxers do not care for the tracks that nobody needs.
const provenRun = 16

// gap takes the counter of the next packet and reports whether some before it
// are missing.
func (c *continuity) gap(counter uint8) bool {
	proven := c.run == provenRun
	inOrder := counter == (c.counter+1)&0x0f || counter == c.counter // a duplicate
	c.counter = counter
	if inOrder {
		c.run = min(c.run+1, provenRun)
		return false
	}
	c.run = 0
	return proven
}

// newDemuxer returns a demuxer that calls emit with every access unit and lost
// whenever something is missing before the next one.
func newDemuxer(emit func(unit), lost func(reason string)) *demuxer {
	return &demuxer{units: unitBuilder{emit: emit, lost: lost}, lost: lost}
}

// listen lets the demuxer call emit with every frame of sound, and describe
// with what sound there is, whenever that changes.
func (d *demuxer) listen(emit func(sound), describe func(text string)) {
	d.sound = audioBuilder{emit: emit, refuse: describe}
	d.describe = describe
}

// add takes a transport packet. Damaged ones are as good as lost: the next of
// the same track has a gap in its continuity_counter.
func (d *demuxer) add(b []byte, arrived time.Time) {
	p, err := parsePacket(b)
	if err != nil || p.pid == pidNull {
		return
	}
	if p.pid != d.video && len(p.payload) > 0 && d.others[p.pid].gap(p.counter) {
		d.gap("packets of the stream were lost")
	}
	if d.tables.add(p) {
		if d.video != 0 && !d.tables.isH264(d.video) {
			d.video, d.counting = 0, false
			d.units.fail("the tracks of the stream changed")
		}
		return
	}
	if d.video == 0 && p.start && d.tables.isH264(p.pid) {
		d.video = p.pid
	}
	if d.describe != nil && d.video != 0 && d.changes != d.tables.changes {
		d.changes = d.tables.changes
		d.findAudio()
	}
	if p.pid == d.video && len(p.payload) > 0 {
		d.addVideo(p, arrived)
	}
	if p.pid == d.audio && d.audio != 0 && len(p.payload) > 0 {
		d.sound.add(p)
	}
}

// findAudio chooses the AAC track beside the video.
func (d *demuxer) findAudio() {
	tracks := d.tables.beside(d.video)
	if d.audio != 0 && slices.Contains(tracks, track{d.audio, kindAAC}) {
		return
	}
	d.audio = 0
	d.sound.reset()
	other := ""
	for _, t := range tracks {
		if t.kind == kindAAC {
			d.audio = t.pid
			return
		}
		other = cmp.Or(other, audioName(t.kind))
	}
	if other != "" {
		other = "sound left out: it is " + other + ", set the sender to AAC in ADTS"
	}
	d.describe(other)
}

func (d *demuxer) addVideo(p packet, arrived time.Time) {
	if d.scrambled = p.scrambled; p.scrambled {
		d.counting = false
		d.units.reset()
		return
	}
	if d.counting && p.counter != (d.counter+1)&0x0f {
		if p.counter == d.counter && bytes.Equal(p.payload, d.last[:d.lastSize]) {
			return // a duplicate, as section 2.4.3.3 allows
		}
		d.gap("packets of the stream were lost")
	}
	d.counter, d.counting = p.counter, true
	d.lastSize = copy(d.last[:], p.payload)
	d.units.add(p, arrived)
}

// flush hands over what is complete, at the end of a datagram: nothing in it
// speaks against it.
func (d *demuxer) flush() { d.units.flush() }

// gap tells that something is missing before the next packet.
func (d *demuxer) gap(reason string) {
	d.counting = false
	d.units.fail(reason)
	d.sound.reset()
}
