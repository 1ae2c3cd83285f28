package webrtc

// numbersKept is how many packets are known by their transport-wide number: as
// many as congestion.Estimator remembers, which names no others. A power of two.
const numbersKept = 2048

// numbers gives each packet its transport-wide sequence number
// (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 2), in the order in
// which they leave. A packet that is overtaken is one that the receiver reports as
// lost, until the next report, and that may be lost itself.
type numbers struct {
	next      uint16
	sequences [numbersKept]uint16 // of the packet that has a number
	newest    [numbersKept]uint16 // by a packet's sequence number: the last it was sent with
}

// take returns the number of a packet that leaves now, for the first time or
// another.
func (n *numbers) take(sequence uint16) uint16 {
	number := n.next
	n.next++
	n.sequences[number%numbersKept] = sequence
	n.newest[sequence%numbersKept] = number
	return number
}

// last returns the number with which a packet was sent last, and whether that is
// still known.
func (n *numbers) last(sequence uint16) (number uint16, known bool) {
	number = n.newest[sequence%numbersKept]
	return number, n.sequences[number%numbersKept] == sequence
}

// missing returns the packets that had these numbers, where they have not been
// sent again since.
func (n *numbers) missing(lost []uint16) (sequences []uint16) {
	for _, number := range lost {
		sequence := n.sequences[number%numbersKept]
		if last, known := n.last(sequence); known && last == number {
			sequences = append(sequences, sequence)
		}
	}
	return sequences
}
