package mpegts

import "time"

// ticks27 converts to the units of the program clock, 27 MHz.
func ticks27(d time.Duration) int64 { return int64(d) * 27 / 1000 }

// ticks90 converts to the units of presentation times, 90 kHz, rounded.
func ticks90(d time.Duration) int64 { return (int64(d)*9 + 50_000) / 100_000 }

// putPCR writes program_clock_reference (ISO/IEC 13818-1 section 2.4.3.5): 33
// bits at 90 kHz, 6 reserved, 9 bits of the 300 steps between.
func putPCR(b []byte, ticks int64) {
	base, ext := uint64(ticks/300)&(1<<33-1), uint64(ticks%300)
	b[0] = byte(base >> 25)
	b[1] = byte(base >> 17)
	b[2] = byte(base >> 9)
	b[3] = byte(base >> 1)
	b[4] = byte(base<<7) | 0x7e | byte(ext>>8)
	b[5] = byte(ext)
}

// putPTS writes a presentation time without a decoding time (section
// 2.4.3.6): 33 bits in groups of 3, 15 and 15, each followed by a 1.
func putPTS(b []byte, ticks int64) {
	t := uint64(ticks) & (1<<33 - 1)
	b[0] = 0x21 | byte(t>>29)&0x0e
	b[1] = byte(t >> 22)
	b[2] = 0x01 | byte(t>>14)&0xfe
	b[3] = byte(t >> 7)
	b[4] = 0x01 | byte(t<<1)&0xfe
}

// writeSection fills a packet with one section of a table (section 2.4.4).
func writeSection(p *[PacketSize]byte, pid uint16, section []byte) {
	p[0], p[1], p[2], p[3] = syncByte, unitStart|byte(pid>>8), byte(pid), 0x10
	p[4] = 0 // pointer_field
	n := 5 + copy(p[5:], section)
	crc := crc32(section)
	n += copy(p[n:], []byte{byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)})
	stuff(p[n:])
}

// appendTable appends a packet made by writeSection.
func appendTable(dst []byte, p *[PacketSize]byte, counter *uint8) []byte {
	p[3] = 0x10 | *counter
	*counter = (*counter + 1) & 0x0f
	return append(dst, p[:]...)
}

// crc32 is the CRC of annex A: polynomial 0x04c11db7, most significant bit
// first, no final inversion. hash/crc32 has the reflected one only.
func crc32(b []byte) uint32 {
	crc := ^uint32(0)
	for _, c := range b {
		crc ^= uint32(c) << 24
		for range 8 {
			if crc&(1<<31) != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

// stuffing is what an adaptation field is filled up with.
var stuffing = func() (b [PacketSize]byte) {
	stuff(b[:])
	return b
}()

func stuff(b []byte) {
	for i := range b {
		b[i] = 0xff
	}
}
