package main

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// listen opens the socket of a receiver.
func listen(ctx context.Context, port int) (*net.UDPConn, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return nil, err
	}
	_ = c.SetReadBuffer(8 << 20)
	context.AfterFunc(ctx, func() { c.Close() })
	return c, nil
}

// receiveTS reads a transport stream of one H.264 track from a socket.
func receiveTS(c *net.UDPConn, j *judge) {
	const packet = 188
	var unit []byte // of the picture that is being collected
	var last time.Time
	pid, counter, whole := -1, byte(0), false
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return // closed
		}
		now := time.Now()
		for b := buf[:n]; len(b) >= packet && b[0] == 0x47; b = b[packet:] {
			p := b[:packet]
			id, start, payload := int(p[1]&0x1f)<<8|int(p[2]), p[1]&0x40 != 0, p[4:]
			if p[3]&0x10 == 0 {
				continue // no payload
			}
			if p[3]&0x20 != 0 {
				if int(p[4])+1 > len(payload) {
					continue
				}
				payload = payload[1+p[4]:]
			}
			if start && len(payload) > 9 && payload[0] == 0 && payload[1] == 0 && payload[2] == 1 && payload[3]&0xf0 == 0xe0 {
				if whole {
					j.picture(split(unit), last)
				}
				pid, whole = id, true
				unit = append(unit[:0], payload[min(9+int(payload[8]), len(payload)):]...)
			} else if id != pid {
				continue
			} else {
				whole = whole && p[3]&0x0f == (counter+1)&0x0f
				unit = append(unit, payload...)
			}
			counter, last = p[3]&0x0f, now
		}
	}
}

// nackInterval is how often a receiver of RTP looks what is missing.
const nackInterval = 10 * time.Millisecond

// rtpReceiver puts RTP packets into order. It asks for those that are missing
// (RFC 4585) until they would come too late.
type rtpReceiver struct {
	judge    *judge
	patience time.Duration // for a missing packet
	conn     *net.UDPConn
	from     netip.AddrPort
	ssrc     uint32

	next    uint16 // that is to come
	started bool
	waiting map[uint16]*rtpPacket
	asked   map[uint16]time.Time // when a packet was asked for last
	looked  time.Time

	depacketizer codecs.H264Packet
	unit         []byte
	timestamp    uint32
	last         time.Time // when its last byte came
}

type rtpPacket struct {
	rtp.Packet
	at time.Time
}

func receiveRTP(c *net.UDPConn, j *judge, patience time.Duration) {
	r := &rtpReceiver{judge: j, patience: patience, conn: c, waiting: make(map[uint16]*rtpPacket), asked: make(map[uint16]time.Time)}
	buf := make([]byte, 64<<10)
	for {
		_ = c.SetReadDeadline(time.Now().Add(nackInterval)) // fails once c is closed, as Read does
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if nerr, ok := err.(net.Error); err != nil && (!ok || !nerr.Timeout()) { //nolint:errorlint // it comes unwrapped
			return // closed
		}
		if err == nil {
			p := &rtpPacket{at: time.Now()}
			if p.Unmarshal(append([]byte(nil), buf[:n]...)) == nil && p.PayloadType < 128 && len(p.Payload) > 0 {
				r.from, r.ssrc = from, p.SSRC
				r.add(p)
			}
		}
		r.advance(time.Now())
	}
}

func (r *rtpReceiver) add(p *rtpPacket) {
	if !r.started {
		r.started, r.next = true, p.SequenceNumber
	}
	if int16(p.SequenceNumber-r.next) >= 0 {
		r.waiting[p.SequenceNumber] = p
	}
}

// advance takes the packets that are in order, and gives up on those that do
// not come.
func (r *rtpReceiver) advance(now time.Time) {
	for len(r.waiting) > 0 {
		if p, ok := r.waiting[r.next]; ok {
			delete(r.waiting, r.next)
			r.take(p)
		} else if now.Sub(r.missingSince()) < r.patience {
			r.ask(now)
			return
		} else {
			r.last = now // what is behind was held up so long
		}
		delete(r.asked, r.next)
		r.next++
	}
}

// missingSince returns when the first packet behind the next one came.
func (r *rtpReceiver) missingSince() time.Time {
	var behind *rtpPacket
	for s, p := range r.waiting {
		if behind == nil || int16(s-behind.SequenceNumber) < 0 {
			behind = p
		}
	}
	return behind.at
}

// ask sends a NACK for all that is missing, to where RTP comes from; for each
// packet again when a round trip has passed, of which patience has four.
func (r *rtpReceiver) ask(now time.Time) {
	if now.Sub(r.looked) < nackInterval {
		return
	}
	r.looked = now
	highest := r.next
	for s := range r.waiting {
		if int16(s-highest) > 0 {
			highest = s
		}
	}
	var missing []uint16
	for s := r.next; s != highest; s++ {
		if r.waiting[s] == nil && now.Sub(r.asked[s]) > r.patience/4+nackInterval {
			missing = append(missing, s)
			r.asked[s] = now
		}
	}
	if len(missing) == 0 {
		return
	}
	b, err := rtcp.Marshal([]rtcp.Packet{
		&rtcp.ReceiverReport{SSRC: 1},
		&rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: r.ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(missing)},
	})
	if err == nil {
		_, _ = r.conn.WriteToUDPAddrPort(b, r.from) // senders need not listen
	}
}

// take adds a packet, in order, to its picture. The judge finds out whether
// something is missing.
func (r *rtpReceiver) take(p *rtpPacket) {
	if p.Timestamp != r.timestamp {
		r.finish()
		r.timestamp = p.Timestamp
	}
	if part, err := r.depacketizer.Unmarshal(p.Payload); err == nil {
		r.unit = append(r.unit, part...)
	}
	if p.at.After(r.last) {
		r.last = p.at
	}
	if p.Marker {
		r.finish()
	}
}

func (r *rtpReceiver) finish() {
	if len(r.unit) > 0 {
		r.judge.picture(split(r.unit), r.last)
	}
	r.unit = nil
	r.depacketizer = codecs.H264Packet{}
}
