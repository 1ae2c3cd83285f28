package webrtc

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/lenscast/lenscast/transport/congestion"
	"github.com/lenscast/lenscast/transport/packet"
)

const (
	clockRate = 90000 // Hz, RTP timestamps of video

	// maxDatagram is the largest UDP payload sent without the header extensions
	// of a picture's first packet:
	// what browsers use, and what fits every path (IPv6 needs 1280 bytes of
	// MTU, a tunnel or two take some).
	maxDatagram = 1200

	// maxPayload leaves room for the RTP header, the extension with the
	// transport-wide sequence number, the tag of AES-GCM and the two bytes
	// that RTX adds.
	maxPayload = maxDatagram - 12 - 8 - 16 - 2

	// keyPatience is how long a receiver behind a narrow way waits for the
	// next keyframe that it asks for.
	keyPatience = time.Second

	// historyLength and historyAge are how many pictures can be resent, and
	// for how long after they were sent: what is missing for longer is
	// mended by a keyframe. At 8 Mbit/s each second is 1 MB for each camera
	// that is watched.
	historyLength = 128
	historyAge    = time.Second
)

// outgoing is the RTP stream to one viewer. It is the viewer's own
// webrtc.TrackLocal: SSRC, sequence numbers, timestamps and header extensions
// are here, the payloads are shared. One goroutine sends pictures, others send
// again what is missing.
type outgoing struct {
	route *route
	pacer *packet.Pacer
	bound chan struct{} // closed when the fields below are set

	writer         webrtc.TrackLocalWriter
	ssrc, rtxSSRC  uint32
	rtxType        uint8
	captureTimeID  uint8 // 0 when not negotiated
	playoutDelayID uint8
	transportID    uint8
	bindOnce       sync.Once
	header         rtp.Header // of the picture being sent; its extension is number
	number         [2]byte    // transport-wide, of the packet being sent
	firstTime      uint32
	sequence       uint16

	repair *packet.Repair // calls resend

	mu      sync.Mutex // what resend shares
	history [historyLength]sent
	oldest  int
	next    int
	rtxSeq  uint16 // sequence number of the last RTX packet
	numbers numbers

	lastKey    atomic.Int64          // Unix ms when the last IDR was asked for or sent
	estimator  *congestion.Estimator // when transport-wide numbers are negotiated
	estimate   *congestion.Reports   // else
	affordable atomic.Int64          // bit/s, 0 without a known limit

	packets, octets, again atomic.Uint64
}

// sent is a picture in the history, with what its packets' headers need.
// It does not keep the access unit, whose memory is another's.
type sent struct {
	at        time.Time
	payloads  [][]byte // nil: there is none
	left      int      // how many of them have left
	key       bool
	captured  time.Time
	timestamp uint32
	first     uint16 // sequence number of its first payload
	extended  bool   // the first has all extensions
}

func newOutgoing(r *route, clock *packet.Clock) *outgoing {
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails
	o := &outgoing{
		route: r, pacer: packet.NewPacer(clock), bound: make(chan struct{}),
		firstTime: binary.BigEndian.Uint32(seed[:4]),
		sequence:  binary.BigEndian.Uint16(seed[4:]),
		rtxSeq:    binary.BigEndian.Uint16(seed[6:]),
	}
	o.repair = packet.NewRepair(o.resend)
	return o
}

// close ends all that is sent by itself.
func (o *outgoing) close() { o.repair.Close() }

// The methods of webrtc.TrackLocal.

func (o *outgoing) ID() string                { return "video" }
func (o *outgoing) RID() string               { return "" }
func (o *outgoing) StreamID() string          { return "lenscast" }
func (o *outgoing) Kind() webrtc.RTPCodecType { return webrtc.RTPCodecTypeVideo }

func (o *outgoing) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	var video *webrtc.RTPCodecParameters
	rtx := uint8(0)
	for _, codec := range c.CodecParameters() {
		switch codec.MimeType {
		case webrtc.MimeTypeH264:
			video = &codec
		case webrtc.MimeTypeRTX:
			rtx = uint8(codec.PayloadType)
		}
	}
	if video == nil {
		return webrtc.RTPCodecParameters{}, errNoH264
	}
	o.bindOnce.Do(func() {
		o.writer, o.ssrc = c.WriteStream(), uint32(c.SSRC())
		if o.rtxSSRC = uint32(c.SSRCRetransmission()); o.rtxSSRC != 0 {
			o.rtxType = rtx
		}
		for _, e := range c.HeaderExtensions() {
			switch e.URI {
			case absCaptureTimeURI:
				o.captureTimeID = uint8(e.ID)
			case playoutDelayURI:
				o.playoutDelayID = uint8(e.ID)
			case transportCCURI:
				o.transportID = uint8(e.ID)
			}
		}
		o.header = rtp.Header{Version: 2, PayloadType: uint8(video.PayloadType), SSRC: o.ssrc}
		if o.transportID != 0 {
			o.estimator = congestion.NewEstimator()
			// What number holds later is what is sent.
			_ = o.header.SetExtension(o.transportID, o.number[:]) // only ids that the negotiation excludes
		} else {
			o.estimate = congestion.NewReports()
		}
		close(o.bound)
	})
	return *video, nil
}

func (o *outgoing) Unbind(webrtc.TrackLocalContext) error { return nil }

// timestamp returns the RTP timestamp of a time on the capture clock.
func (o *outgoing) timestamp(pts time.Duration) uint32 {
	return o.firstTime + uint32(int64(pts)*9/100000) // enough for 32 years
}

// send sends a picture with the given RTP timestamp, in as many groups as
// pacing wants. Extensions go on the first packet when extend is set. It is
// called by one goroutine, after bound is closed. The error is the context's.
func (o *outgoing) send(ctx context.Context, pic *packet.Picture, timestamp uint32, extend bool) error {
	o.header.Timestamp = timestamp
	now := time.Now()
	picture := o.remember(sent{
		at: now, payloads: pic.Payloads, key: pic.Key, captured: pic.Captured, timestamp: timestamp, first: o.sequence, extended: extend,
	})
	first := &o.header
	if extend {
		h := o.extended(pic.Captured, timestamp, o.number[:])
		first = &h
	}

	o.pacer.Limit(int(o.affordable.Load()))
	o.pacer.Begin(pic)
	o.route.batch.Hold()
	defer o.route.batch.Flush() //nolint:errcheck // a lost datagram is asked for again
	for i, payload := range pic.Payloads {
		for !o.pacer.Allow(len(payload)) {
			_ = o.route.batch.Flush()
			if err := o.pacer.Wait(ctx); err != nil {
				return err
			}
			o.route.batch.Hold()
			now = time.Now()
		}
		header := &o.header
		if i == 0 {
			header = first
		}
		header.SequenceNumber = o.sequence
		header.Marker = i == len(pic.Payloads)-1
		number := o.leaves(picture)
		if o.transportID != 0 {
			binary.BigEndian.PutUint16(o.number[:], number)
			o.estimator.Sent(number, len(payload), now)
		}
		o.sequence++
		// An error is a lost packet, as between two paths of an ICE
		// restart. When it is more than that, the session hears of it.
		_, _ = o.writer.WriteRTP(header, payload)
	}
	if pic.Key {
		o.lastKey.Store(now.UnixMilli())
	}
	o.packets.Add(uint64(len(pic.Payloads)))
	o.octets.Add(uint64(pic.Size))
	o.repair.Sent(len(pic.Payloads), pic.Size, now)
	return nil
}

// extended returns the header of a picture's first packet with the extensions
// that were negotiated. number becomes part of it.
func (o *outgoing) extended(captured time.Time, timestamp uint32, number []byte) rtp.Header {
	h := o.plain(timestamp, number)
	var err error
	if o.playoutDelayID != 0 {
		// Minimum and maximum 0: show each picture as soon as it is
		// decoded. Without it Chromium's jitter buffer grew to 70-400 ms
		// on a busy machine, with it 10 ms. A larger maximum gains
		// nothing, but makes Chromium pace the decoding of a backlog.
		err = h.SetExtension(o.playoutDelayID, []byte{0, 0, 0})
	}
	if o.captureTimeID != 0 && !captured.IsZero() {
		var t [8]byte
		binary.BigEndian.PutUint64(t[:], ntpTime(captured))
		err = errors.Join(err, h.SetExtension(o.captureTimeID, t[:]))
	}
	if err != nil { // only ids and sizes that the negotiation excludes
		return o.plain(timestamp, number)
	}
	return h
}

// plain returns the header of any other packet.
func (o *outgoing) plain(timestamp uint32, number []byte) rtp.Header {
	h := rtp.Header{Version: 2, PayloadType: o.header.PayloadType, SSRC: o.ssrc, Timestamp: timestamp}
	if o.transportID != 0 {
		_ = h.SetExtension(o.transportID, number) // only ids that the negotiation excludes
	}
	return h
}

// remember puts a picture in the history.
func (o *outgoing) remember(s sent) *sent {
	o.mu.Lock()
	defer o.mu.Unlock()
	picture := &o.history[o.next]
	*picture = s
	o.next = (o.next + 1) % historyLength
	if o.oldest == o.next { // that place was taken
		o.oldest = (o.oldest + 1) % historyLength
	}
	for s.at.Sub(o.history[o.oldest].at) > historyAge {
		o.history[o.oldest] = sent{}
		o.oldest = (o.oldest + 1) % historyLength
	}
	return picture
}

// leaves tells that the next packet of the newest picture leaves, and returns
// its transport-wide number.
func (o *outgoing) leaves(picture *sent) (number uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	picture.left++
	return o.numbers.take(o.sequence)
}

// wantsKey tells whether a wish for a keyframe is to be granted: on a narrow
// way the last one may still be on its way, and be what the wish is about.
func (o *outgoing) wantsKey(now time.Time) bool {
	ms := now.UnixMilli()
	if o.affordable.Load() > 0 && ms-o.lastKey.Load() <= keyPatience.Milliseconds() {
		return false
	}
	o.lastKey.Store(ms)
	return true
}

// hear takes transport-wide feedback, and passes on what it means. A
// packet that is wrong changes nothing.
func (o *outgoing) hear(raw []byte, to wisher) {
	if o.transportID == 0 {
		return
	}
	now := time.Now()
	lost, err := o.estimator.Feedback(raw, now)
	if err != nil {
		return
	}
	o.afford(o.estimator.Target(), to)
	if len(lost) > 0 {
		o.repair.Missed(o.missing(lost), now)
	}
}

// hearReport takes what a receiver report says, where there is nothing better.
func (o *outgoing) hearReport(told packet.Feedback, to wisher) {
	if o.transportID != 0 {
		return
	}
	o.estimate.Feedback(told, o.octets.Load())
	o.afford(o.estimate.Target(), to)
}

// moved tells that packets take another way from now on, of which nothing is
// known: what the one before it carried, or lost when it ended, would slow this
// one down for long.
func (o *outgoing) moved(to wisher) {
	switch {
	case !closed(o.bound): // nothing was sent yet
		return
	case o.transportID != 0:
		o.estimator.Reset()
	default:
		o.estimate.Reset()
	}
	o.afford(congestion.Unlimited, to)
}

func (o *outgoing) afford(target int, to wisher) {
	if target >= congestion.Unlimited {
		target = 0
	}
	before := int(o.affordable.Swap(int64(target)))
	if before == target {
		return
	}
	o.repair.Limit(target)
	if before == 0 || 10*target < 9*before {
		o.lastKey.Store(0) // it was lost with the rest
	}
	to.afford(target)
}

// ntpTime returns a wall-clock time in NTP format (RFC 5905 section 6).
func ntpTime(t time.Time) uint64 {
	const toUnix = 2208988800 // seconds from 1900 to 1970
	seconds := uint64(t.Unix()+toUnix) << 32
	return seconds | uint64(t.Nanosecond())<<32/1e9
}
