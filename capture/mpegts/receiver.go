package mpegts

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/lenscast/lenscast/capture"
	"github.com/lenscast/lenscast/capture/h264"
)

const (
	// quiet is how long no picture must have come before the reason is
	// looked for.
	quiet = 2 * time.Second
	// senderSilence is how long the sender must be silent before another
	// host takes its place. One that starts anew has another port, so the
	// same host need not wait as long.
	senderSilence     = time.Second
	sameSenderSilence = 250 * time.Millisecond
)

// receiver makes pictures of datagrams. It knows nothing of sockets.
type receiver struct {
	address string // that is listened at, for people
	sink    capture.Sink
	audio   capture.AudioSink // the same, nil when it takes no sound
	log     *slog.Logger

	sender     netip.AddrPort // the one that is listened to
	stranger   bool           // another one was told of
	sync       syncer
	eachPacket func(b []byte) // made once, not once a datagram
	demuxer    *demuxer
	assembler  h264.Assembler
	clock      clock
	nalus      [][]byte               // reused
	rtp        bool                   // the newest datagram was RTP
	rtpNext    uint16                 // sequence number that follows it
	whole      bool                   // no loss since the last IDR written
	refused    *h264.UnsupportedError // why the newest picture was, nil if it was not
	rxDropped  uint32                 // datagrams, by the socket's own count
	arrived    time.Time              // of the datagram in work

	began       time.Time // of Run
	lastAny     time.Time // a datagram came, whoever sent it
	resumed     time.Time // lastAny, when it was the first after silence
	lastPacket  time.Time // a transport packet came
	lastPicture time.Time // a picture was written
	told        string    // told since then
	sounds      string    // what sound comes, as the sink was told
}

func newReceiver(address string, sink capture.Sink, log *slog.Logger, now time.Time) *receiver {
	r := &receiver{address: address, sink: sink, log: log, began: now}
	r.audio, _ = sink.(capture.AudioSink)
	r.demux()
	r.eachPacket = func(b []byte) { r.demuxer.add(b, r.arrived) }
	return r
}

// demux begins with another stream.
func (r *receiver) demux() {
	r.demuxer = newDemuxer(r.unit, r.lost)
	if r.audio != nil {
		r.demuxer.listen(r.sound, r.describe)
	}
}

// datagram takes what a sender sent.
func (r *receiver) datagram(data []byte, from netip.AddrPort, arrived time.Time) {
	if arrived.Sub(r.lastAny) >= quiet {
		r.resumed = arrived
	}
	r.lastAny = arrived
	payload, sequence, rtp := stripRTP(data)
	if !rtp {
		payload = data
	}
	if from != r.sender && !r.accept(payload, from, arrived) {
		return
	}
	if rtp {
		if r.rtp && sequence != r.rtpNext {
			r.demuxer.gap(fmt.Sprintf("%d datagrams were lost or came late", max(1, int(int16(sequence-r.rtpNext)))))
		}
		r.rtpNext = sequence + 1
	}
	r.rtp = rtp
	r.arrived = arrived
	if r.sync.split(payload, r.eachPacket) > 0 {
		r.lastPacket = arrived
		r.demuxer.flush()
	}
}

// accept decides whether a datagram of somebody else begins a new stream.
func (r *receiver) accept(payload []byte, from netip.AddrPort, now time.Time) bool {
	if len(payload) < packetSize || findSync(payload) < 0 {
		return false
	}
	silence := senderSilence
	if from.Addr() == r.sender.Addr() {
		silence = sameSenderSilence
	}
	if r.sender.IsValid() && now.Sub(r.lastPacket) < silence {
		if !r.stranger {
			r.stranger = true
			r.log.Warn("a second sender is ignored as long as the first one sends",
				"address", r.address, "first", r.sender, "second", from)
		}
		return false
	}
	if r.sender.IsValid() {
		r.log.Info("another sender is listened to", "address", r.address, "before", r.sender, "now", from)
		r.lost("the sender started anew")
	}
	r.sender, r.stranger = from, false
	r.sync, r.rtp, r.refused = syncer{}, false, nil
	r.demux()
	r.assembler = h264.Assembler{}
	return true
}

// overflow takes the socket's count of datagrams that it had no room for.
func (r *receiver) overflow(total uint32) {
	if n := total - r.rxDropped; n > 0 {
		r.rxDropped = total
		r.demuxer.gap(fmt.Sprintf("%d datagrams were dropped because this machine is too busy", n))
	}
}

// lost breaks the group of pictures.
func (r *receiver) lost(reason string) {
	r.assembler.Lost()
	if r.whole {
		r.whole = false
		r.sink.Lost(reason)
	}
}

// unit takes an access unit of the demuxer.
func (r *receiver) unit(u unit) {
	pts, jumped := r.clock.next(u.pts, u.arrived)
	if jumped {
		r.assembler.Lost()
	}
	au, err := r.assemble(u.stream, pts)
	if err != nil {
		r.dropped(err, jumped)
		return
	}
	r.lastPicture, r.told, r.refused, r.whole = u.arrived, "", nil, true
	r.sink.Write(au)
}

// dropped takes the reason why an access unit came to nothing.
func (r *receiver) dropped(reason error, jumped bool) {
	var refused *h264.UnsupportedError
	switch {
	case errors.As(reason, &refused): // no wonder that the clock seems to jump
		r.whole, r.refused = false, refused
		r.tell(fmt.Errorf("%w: %w", capture.ErrUnsupported, refused))
	case jumped:
		r.lost("the clock of the sender jumped")
	case errors.Is(reason, h264.ErrWaiting):
		r.refused = nil
	case !errors.Is(reason, h264.ErrNoPicture):
		r.lost(reason.Error())
	}
}

// sound takes a frame of sound of the demuxer.
func (r *receiver) sound(s sound) {
	pts, ok := r.clock.beside(s.pts)
	if !ok {
		if r.clock.running {
			r.describe("sound left out: its timestamps are far from those of the pictures")
		}
		return
	}
	r.describe(s.frame.String())
	s.frame.PTS = pts + s.since
	r.audio.WriteAudio(&s.frame)
}

// describe tells the sink which sound comes, when that is news.
func (r *receiver) describe(sound string) {
	if sound != r.sounds {
		r.sounds = sound
		r.audio.DescribeAudio(sound)
	}
}

// assemble copies the access unit, which outlives the buffer that it came in.
func (r *receiver) assemble(stream []byte, pts time.Duration) (*h264.AccessUnit, error) {
	own := make([]byte, len(stream))
	copy(own, stream)
	var err error
	r.nalus, err = h264.SplitAnnexB(r.nalus[:0], own)
	defer clear(r.nalus)
	if err != nil {
		return nil, err
	}
	return r.assembler.Assemble(r.nalus, pts, r.clock.captured())
}

// tick is called at least every half second, to say why nothing comes.
func (r *receiver) tick(now time.Time) {
	for _, t := range [...]time.Time{r.began, r.resumed, r.lastPicture} {
		if now.Sub(t) < quiet {
			return
		}
	}
	r.tell(r.diagnose(now))
}

// tell tells the sink what is wrong, once until a picture comes.
func (r *receiver) tell(trouble error) {
	if text := trouble.Error(); text != r.told {
		r.told = text
		r.sink.Trouble(trouble)
	}
}

// diagnose says why no picture has come for a while.
func (r *receiver) diagnose(now time.Time) error {
	recent := func(t time.Time) bool { return now.Sub(t) < quiet }
	t := &r.demuxer.tables
	switch {
	case r.lastAny.IsZero():
		return fmt.Errorf("%w: nothing arrives at %s: start the camera, or point the sender there", capture.ErrNoSignal, r.address)
	case !recent(r.lastAny):
		return fmt.Errorf("%w: nothing arrives at %s any more: the sender has stopped", capture.ErrNoSignal, r.address)
	case !recent(r.lastPacket):
		return fmt.Errorf("%w: what arrives at %s is no MPEG-TS: let the sender send MPEG-TS (ffmpeg: -f mpegts)", capture.ErrUnsupported, r.address)
	case r.refused != nil:
		return fmt.Errorf("%w: %w", capture.ErrUnsupported, r.refused)
	case len(t.tracks) == 0:
		return fmt.Errorf("%w: the MPEG-TS at %s comes without its tables (PAT and PMT)", capture.ErrUnsupported, r.address)
	case !t.hasH264():
		return fmt.Errorf("%w: the MPEG-TS at %s carries %s and no H.264: set the camera to H.264", capture.ErrUnsupported, r.address, t.describe())
	case r.demuxer.video == 0:
		return fmt.Errorf("%w: the H.264 track of the MPEG-TS at %s is empty", capture.ErrNoSignal, r.address)
	case r.demuxer.scrambled:
		return fmt.Errorf("%w: the MPEG-TS at %s is scrambled: turn its encryption off", capture.ErrUnsupported, r.address)
	}
	return fmt.Errorf("%w: it comes from %s", h264.ErrWaiting, r.sender)
}
