package packet

import (
	"sync"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

// NAL unit types of RTP payloads only (RFC 6184 section 5.4), and the bits of
// the FU header (section 5.8).
const (
	typeSTAPA = 24
	typeFUA   = 28

	fuStart = 0x80
	fuEnd   = 0x40

	nriMask       = 0x60
	forbiddenMask = 0x80
)

// MinPayload is the least size of an RTP payload that a Packetizer accepts.
const MinPayload = 64

// cachedPictures is how many pictures a Packetizer remembers, and cachedSpan for
// how long, so that all viewers of a camera, and those of them that lag, find
// each picture cut already.
const (
	cachedPictures = 64
	cachedSpan     = time.Second
)

// Picture is an access unit cut into RTP payloads for packetization mode 1.
// It is immutable, and shared by all who send it.
type Picture struct {
	*h264.AccessUnit

	Payloads [][]byte // never empty of a Picture made from a valid access unit
	Size     int      // bytes in all payloads
}

// Packetizer cuts access units, each only once. It is safe for concurrent
// use.
type Packetizer struct {
	maxPayload int

	mu     sync.Mutex
	cache  map[*h264.AccessUnit]*Picture
	recent [cachedPictures]*h264.AccessUnit // ring, what is in cache
	next   int
	oldest int
}

// NewPacketizer makes a Packetizer of payloads of at most maxPayload bytes,
// which is raised to MinPayload.
func NewPacketizer(maxPayload int) *Packetizer {
	return &Packetizer{
		maxPayload: max(maxPayload, MinPayload),
		cache:      make(map[*h264.AccessUnit]*Picture, cachedPictures),
	}
}

// Packetizers are Packetizers for payloads of several sizes, so that senders of
// one camera whose packets are as large share the work. It is safe for
// concurrent use; the zero Packetizers is ready for it.
type Packetizers struct {
	mu     sync.Mutex
	bySize map[int]*Packetizer
}

// Get returns the Packetizer of payloads of at most maxPayload bytes.
func (p *Packetizers) Get(maxPayload int) *Packetizer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bySize == nil {
		p.bySize = make(map[int]*Packetizer)
	}
	if p.bySize[maxPayload] == nil {
		p.bySize[maxPayload] = NewPacketizer(maxPayload)
	}
	return p.bySize[maxPayload]
}

// Picture returns au cut into payloads.
func (p *Packetizer) Picture(au *h264.AccessUnit) *Picture {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pic, ok := p.cache[au]; ok {
		return pic
	}
	pic := packetize(au, p.maxPayload)
	delete(p.cache, p.recent[p.next])
	p.cache[au], p.recent[p.next] = pic, au
	p.next = (p.next + 1) % cachedPictures
	if p.oldest == p.next {
		p.oldest = (p.oldest + 1) % cachedPictures
	}
	for au.PTS-p.recent[p.oldest].PTS > cachedSpan {
		delete(p.cache, p.recent[p.oldest])
		p.recent[p.oldest] = nil
		p.oldest = (p.oldest + 1) % cachedPictures
	}
	return pic
}

// packetize cuts all NAL units but access unit delimiters and filler, which
// mean nothing in RTP. Neighbours that fit in one packet share it (STAP-A),
// those that are too large are split in fragments (FU-A) of equal size, which
// GSO can carry.
func packetize(au *h264.AccessUnit, maxPayload int) *Picture {
	nalus := au.NALUs
	// Bytes that FU-A and STAP-A add: 2 a fragment or unit, 1 a packet.
	room := 0
	for _, n := range nalus {
		room += len(n) + 3 + 2*(len(n)/(maxPayload-2)+1)
	}
	c := cutter{max: maxPayload, arena: make([]byte, 0, room), payloads: make([][]byte, 0, room/maxPayload+len(nalus))}
	for _, n := range nalus {
		switch t := h264.TypeOf(n); {
		case len(n) == 0 || t == h264.NALUAUD || t == h264.NALUFiller:
		case len(n) > maxPayload:
			c.flush()
			c.fragment(n)
		default:
			c.aggregate(n)
		}
	}
	c.flush()
	return &Picture{AccessUnit: au, Payloads: c.payloads, Size: len(c.arena)}
}

// cutter builds payloads in one piece of memory.
type cutter struct {
	max      int
	arena    []byte
	payloads [][]byte

	pending [][]byte // small NAL units that fit in one packet
	size    int      // of the STAP-A of them
}

func (c *cutter) aggregate(nalu []byte) {
	if c.size+2+len(nalu) > c.max {
		c.flush()
	}
	if len(c.pending) == 0 {
		c.size = 1
	}
	c.pending = append(c.pending, nalu)
	c.size += 2 + len(nalu)
}

// flush writes the pending NAL units: a lone one as it is, several as STAP-A
// (RFC 6184 section 5.7.1).
func (c *cutter) flush() {
	start := len(c.arena)
	switch len(c.pending) {
	case 0:
		return
	case 1:
		c.arena = append(c.arena, c.pending[0]...)
	default:
		c.arena = append(c.arena, typeSTAPA)
		for _, n := range c.pending {
			c.arena = append(c.arena, byte(len(n)>>8), byte(len(n)))
			c.arena = append(c.arena, n...)
			header := c.arena[start]
			c.arena[start] = typeSTAPA | (header|n[0])&forbiddenMask | max(header&nriMask, n[0]&nriMask)
		}
	}
	c.add(start)
	c.pending, c.size = c.pending[:0], 0
}

// fragment writes a NAL unit as FU-A (RFC 6184 section 5.8).
func (c *cutter) fragment(nalu []byte) {
	indicator := nalu[0]&^0x1f | typeFUA
	header := nalu[0]&0x1f | fuStart
	data := nalu[1:]
	count := (len(data) + c.max - 3) / (c.max - 2)
	size := (len(data) + count - 1) / count
	for len(data) > 0 {
		n := min(size, len(data))
		if n == len(data) {
			header |= fuEnd
		}
		start := len(c.arena)
		c.arena = append(c.arena, indicator, header)
		c.arena = append(c.arena, data[:n]...)
		c.add(start)
		data, header = data[n:], header&^fuStart
	}
}

func (c *cutter) add(start int) {
	end := len(c.arena)
	c.payloads = append(c.payloads, c.arena[start:end:end])
}
