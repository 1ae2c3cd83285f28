// Package packet holds what every datagram sender shares.
//
// A [Packetizer] cuts pictures into RTP payloads (RFC 6184), once for all who
// send them. A [Conn] is a UDP socket on which a [Batch] hands a whole group
// of packets to the kernel in one call (UDP GSO where the kernel has it). A
// [Pacer] spreads large pictures over time; all pacers of a program wait on
// one [Clock]. An [Alarm] tells a sender that no picture came, and a [Repair]
// decides what is sent again of what a receiver misses.
package packet
