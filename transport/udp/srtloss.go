package udp

import (
	"strconv"
	"strings"
	"sync"

	srt "github.com/datarhei/gosrt"
)

const (
	// lossTopic is what gosrt logs about each loss report (NAK,
	// draft-sharabayko-srt section 3.2.5) before it sends again what is asked
	// for.
	lossTopic = "control:recv:NAK:cif"

	// lossMemory is how many packets back it is known which ones were lost:
	// more than are on the way in any latency.
	lossMemory = 1 << 13
)

// lossLog is a logger of gosrt that counts the packets that receivers have
// reported as lost, and logs nothing.
//
// The statistics of gosrt count each time that a packet is asked for. A receiver
// does that again and again until the packet comes (draft-sharabayko-srt section
// 4.8.2), twice or eight times, so they do not tell how much the network loses;
// and what is acknowledged may have been given up. Only the reports themselves
// tell.
type lossLog struct {
	mu      sync.Mutex
	sockets map[uint32]*lostPackets
}

// lostPackets are those of one connection.
type lostPackets struct {
	count   uint64
	numbers [lossMemory]uint32 // sequence number + 1, at its rest
}

func newLossLog() *lossLog { return &lossLog{sockets: make(map[uint32]*lostPackets)} }

// watch begins to count the losses of a connection.
func (l *lossLog) watch(socket uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sockets[socket] = &lostPackets{}
}

// forget ends that.
func (l *lossLog) forget(socket uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sockets, socket)
}

// lost returns how many packets of a watched connection were lost, those sent
// again not counted.
func (l *lossLog) lost(socket uint32) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.sockets[socket]; p != nil {
		return p.count
	}
	return 0
}

// Print implements srt.Logger.
func (l *lossLog) Print(topic string, socket uint32, _ int, message func() string) {
	if topic != lossTopic {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.sockets[socket]; p != nil {
		p.read(message())
	}
}

// The rest of srt.Logger.

func (l *lossLog) HasTopic(topic string) bool { return topic == lossTopic }
func (l *lossLog) Listen() <-chan srt.Log     { return nil }
func (l *lossLog) Close()                     {}

// read takes a loss report as gosrt writes it: a line "single: 0x1" for one
// packet and "row: 0x1 to 0x2" for several. One report does not count for more
// packets than are remembered, whatever it says.
func (p *lostPackets) read(report string) {
	left := lossMemory
	for line := range strings.Lines(report) {
		kind, numbers, _ := strings.Cut(strings.TrimSpace(line), ": ")
		first, last, isRow := strings.Cut(numbers, " to ")
		if kind != "single" && kind != "row" {
			continue
		}
		if !isRow {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 0, 32)
		to, err2 := strconv.ParseUint(last, 0, 32)
		if err1 != nil || err2 != nil {
			continue
		}
		for n := uint32(from); left > 0; n = (n + 1) & (1<<31 - 1) {
			p.add(n)
			left--
			if n == uint32(to) {
				break
			}
		}
	}
}

func (p *lostPackets) add(number uint32) {
	if slot := &p.numbers[number%lossMemory]; *slot != number+1 {
		*slot = number + 1
		p.count++
	}
}
