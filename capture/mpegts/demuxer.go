package mpegts

import (
	"bytes"
	"time"
)

// demuxer takes the access units of one H.264 track out of a transport stream.
// The track is the first of those that the tables announce on which anything
// comes; all others are ignored.
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
}

// newDemuxer returns a demuxer that calls emit with every access unit and lost
// whenever something is missing before the next one.
func newDemuxer(emit func(unit), lost func(reason string)) *demuxer {
	return &demuxer{units: unitBuilder{emit: emit, lost: lost}, lost: lost}
}

// add takes a transport packet. Damaged ones are as good as lost: the next of
// the same track has a gap in its continuity_counter.
func (d *demuxer) add(b []byte, arrived time.Time) {
	p, err := parsePacket(b)
	if err != nil || p.pid == pidNull {
		return
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
	if p.pid == d.video && len(p.payload) > 0 {
		d.addVideo(p, arrived)
	}
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

// gap tells that something is missing before the next packet.
func (d *demuxer) gap(reason string) {
	d.counting = false
	d.units.fail(reason)
}
