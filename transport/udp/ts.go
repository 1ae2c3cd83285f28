package udp

import (
	"context"
	"time"

	"github.com/lenscast/lenscast/transport/udp/mpegts"
)

const tsPacket = mpegts.PacketSize

// tsIdle is when the program clock is sent without a picture: a timer that
// fires late must not make a gap of more than the allowed 40 ms.
const tsIdle = mpegts.MaxPCRInterval - 4*time.Millisecond

// tsCutter packs transport packets into datagrams, seven in one as everybody
// does (7 x 188 = 1316 bytes). The last datagram of a picture leaves as short
// as it is.
type tsCutter struct {
	mux  *mpegts.Muxer
	size int // of a datagram
}

func newTSCutter(size int) *tsCutter { return &tsCutter{mux: mpegts.NewMuxer(), size: size} }

func (c *tsCutter) picture(d *datagrams, pic picture) {
	d.buf = c.mux.AppendPicture(d.buf, pic.AccessUnit, pic.pts)
	for end := c.size; end < len(d.buf); end += c.size {
		d.ends = append(d.ends, end)
	}
	d.end()
}

func (c *tsCutter) idle(d *datagrams, elapsed time.Duration) {
	d.buf = c.mux.AppendPCR(d.buf, elapsed)
	if len(d.buf) > 0 {
		d.end()
	}
}

// nullPacket is what every receiver of a transport stream throws away (ISO/IEC
// 13818-1 section 2.4.3.3, PID 0x1fff).
func nullPacket() []byte {
	b := make([]byte, tsPacket)
	b[0], b[1], b[2], b[3] = 0x47, 0x1f, 0xff, 0x10
	return b
}

// runTS sends a transport stream in plain datagrams.
func (p *Pusher) runTS(ctx context.Context) error {
	conn, to, err := dial(ctx, p.p.Destination, p.p.Destination.Port)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := p.probe(conn, nullPacket()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer watch(conn, nil, cancel)()
	p.changeReceivers(1)
	f, err := p.newTSFlow(udpLink{conn: conn, to: to})
	if err != nil {
		return err
	}
	f.direct = true
	return p.noteRefusal(f.run(ctx, p.p.Open()))
}
