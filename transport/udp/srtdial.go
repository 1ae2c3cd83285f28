package udp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	srt "github.com/datarhei/gosrt"
	"github.com/datarhei/gosrt/circular"
	srtpacket "github.com/datarhei/gosrt/packet"
)

// srtDial makes the connection. The listener has just answered, in rtt.
func srtDial(d Destination, to netip.AddrPort, rtt time.Duration, log srt.Logger) (srt.Conn, error) {
	linger := &lingerLogger{Logger: log}
	config := srtConfig(d, linger)
	config.ConnectionTimeout = max(10*rtt, time.Second)
	conn, err := srt.Dial("srt", to.String(), config)
	if err != nil {
		return nil, fmt.Errorf("%w: check passphrase and streamid", err)
	}
	linger.off.Store(true)
	return conn, nil
}

// lingerLogger makes a failed Dial of gosrt clean up. Dial tells the goroutine
// that reads the socket to end, closes the socket and looks, at once and never
// again, for the goroutine's last word; the goroutine then waits for ever to
// be heard. In between Dial logs a message. While that holds it up, the
// goroutine comes to its read deadline of 3 s, and is heard.
type lingerLogger struct {
	srt.Logger
	off atomic.Bool
}

func (l *lingerLogger) Print(topic string, socketID uint32, skip int, message func() string) {
	if topic == "dial" && !l.off.Load() && message() == "closing socket" {
		time.Sleep(3100 * time.Millisecond)
	}
	l.Logger.Print(topic, socketID, skip, message)
}

// knock asks a listener whether it is there, and tells the round trip. It is
// the first message of a handshake (draft-sharabayko-srt section 4.3.1.1), for
// which a listener keeps no state: gosrt sends it once only, and waits for an
// answer in vain when that one datagram is lost or refused.
func knock(ctx context.Context, d Destination, to netip.AddrPort) (time.Duration, error) {
	conn, _, err := dial(ctx, d, to.Port())
	if err != nil {
		return 0, err
	}
	answered := make(chan struct{}, 1)
	failed := make(chan error, 1)
	defer watch(conn, func(b []byte) {
		p, err := srtpacket.NewPacketFromData(net.UDPAddrFromAddrPort(to), b)
		if err == nil && p.Header().IsControlPacket && p.Header().ControlType == srtpacket.CTRLTYPE_HANDSHAKE {
			trySend(answered, struct{}{})
		}
	}, func(err error) { trySend(failed, err) })()

	request, err := induction(to)
	if err != nil {
		return 0, err
	}
	patience := time.NewTimer(srtPatience)
	defer patience.Stop()
	repeat := time.NewTicker(srtRepeat)
	defer repeat.Stop()
	start := time.Now()
	for {
		if _, err := conn.Write(request); err != nil {
			return 0, err
		}
		select {
		case <-answered:
			return time.Since(start), nil
		case <-repeat.C:
		case err := <-failed:
			return 0, err
		case <-patience.C:
			return 0, errors.New("no answer: check address and port, and whether a firewall lets UDP through")
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// trySend puts v into a channel that has room.
func trySend[T any](c chan<- T, v T) {
	select {
	case c <- v:
	default:
	}
}

// induction is the first message of a caller (draft-sharabayko-srt section
// 4.3.1.1).
func induction(to netip.AddrPort) ([]byte, error) {
	p := srtpacket.NewPacket(net.UDPAddrFromAddrPort(to))
	defer p.Decommission()
	p.Header().IsControlPacket = true
	p.Header().ControlType = srtpacket.CTRLTYPE_HANDSHAKE
	err := p.MarshalCIF(&srtpacket.CIFHandshake{
		IsRequest:                   true,
		Version:                     4, // of the protocol UDT that SRT grew from
		ExtensionField:              2, // datagrams
		InitialPacketSequenceNumber: circular.New(0, srtpacket.MAX_SEQUENCENUMBER),
		MaxTransmissionUnitSize:     srt.MAX_MSS_SIZE,
		MaxFlowWindowSize:           srt.DefaultConfig().FC,
		HandshakeType:               srtpacket.HSTYPE_INDUCTION,
		SRTSocketId:                 1,
	})
	var b bytes.Buffer
	if err == nil {
		err = p.Marshal(&b)
	}
	if err != nil {
		return nil, fmt.Errorf("make handshake: %w", err)
	}
	return b.Bytes(), nil
}
