package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Kind is how a stream is carried; the values are the schemes of the URLs.
type Kind string

// The kinds of destinations.
const (
	RTP    Kind = "rtp"        // H.264 in RTP (RFC 6184) with RTCP on the port above
	TS     Kind = "udp"        // MPEG transport stream, as ffmpeg and VLC mean it by udp://
	SRT    Kind = "srt"        // MPEG transport stream over SRT, caller or listener
	Server Kind = "udp-server" // MPEG transport stream to all who subscribe, see README.md
)

// Destination says where to send, and how. It is parsed from a URL:
//
//	rtp://HOST:PORT          pkt_size, ttl, interface, dscp, sdp
//	udp://HOST:PORT          pkt_size, ttl, interface, dscp
//	srt://HOST:PORT          pkt_size, ttl, dscp, mode, latency, passphrase, pbkeylen, streamid
//	udp-server://HOST:PORT   pkt_size, ttl, dscp, token, max_clients
//
// HOST may be a multicast group for rtp and udp. It may be left out for
// udp-server and for srt with mode=listener: that means all addresses.
// The options, written ?ttl=4&dscp=0:
//
//	pkt_size     bytes in a datagram: 188 to 1316 in steps of 188 for a
//	             transport stream (default 1316), 256 to 1472 for RTP (1360)
//	ttl          hops, 1 to 255; by default 1 for multicast
//	interface    the network interface to leave by, such as wlan0
//	dscp         traffic class, 0 to 63; by default 34, AF41 (RFC 4594)
//	sdp          file to write the session description to
//	mode         caller (default) or listener
//	latency      how long the receiver may wait for lost packets: "200ms", or
//	             a number of milliseconds (ffmpeg alone counts microseconds);
//	             20ms to 30s, default 120ms
//	passphrase   10 to 79 characters
//	pbkeylen     bytes of the key: 16 (default), 24 or 32
//	streamid     which stream, up to 512 bytes: sent by a caller, demanded by
//	             a listener
//	token        what a client must know, at least 16 characters without spaces
//	max_clients  at once, 1 to 1000; by default 100
//
// The zero Destination is none.
type Destination struct {
	Kind Kind
	Host string // name or address, empty for all addresses of this machine
	Port uint16

	PacketSize int
	TTL        int // 0 means the default
	Interface  string
	DSCP       int
	SDPFile    string

	Listener   bool // of SRT
	Latency    time.Duration
	KeyLength  int // bytes
	StreamID   string
	MaxClients int

	secret string // passphrase or token; String and GoString keep it from showing
}

// ParseDestination reads a URL.
func ParseDestination(s string) (Destination, error) {
	u, err := url.Parse(s)
	if err != nil {
		// The error of url.Parse repeats the whole URL, passphrase and all.
		return Destination{}, errors.New(`not a URL, write it like "udp://192.0.2.10:5000"`)
	}
	d := Destination{
		Kind: Kind(u.Scheme), Host: u.Hostname(),
		PacketSize: 7 * tsPacket, DSCP: 34, Latency: 120 * time.Millisecond, KeyLength: 16, MaxClients: 100,
	}
	var allowed string
	switch d.Kind {
	case RTP:
		d.PacketSize = 1360 // fits IPv6 in a WireGuard tunnel
		allowed = "pkt_size ttl interface dscp sdp"
	case TS:
		allowed = "pkt_size ttl interface dscp"
	case SRT:
		allowed = "pkt_size ttl dscp mode latency passphrase pbkeylen streamid"
	case Server:
		allowed = "pkt_size ttl dscp token max_clients"
	default:
		return Destination{}, fmt.Errorf("%q is no way to send over UDP, only rtp, udp, srt and udp-server are", u.Scheme)
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || port == 0 {
		return Destination{}, fmt.Errorf(`no port, write it like "%s://192.0.2.10:5000"`, d.Kind)
	}
	d.Port = uint16(port)
	if u.User != nil || strings.Trim(u.Path, "/") != "" || u.Fragment != "" || u.Opaque != "" {
		return Destination{}, errors.New("only host, port and options may stand in it")
	}
	if err := d.parseOptions(u.RawQuery, strings.Fields(allowed)); err != nil {
		return Destination{}, err
	}
	if err := d.check(); err != nil {
		return Destination{}, err
	}
	return d, nil
}

// parseOptions reads the options of the query; RTP as well as SRT is picky
// about typing errors, so nothing unknown passes.
func (d *Destination) parseOptions(query string, allowed []string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("the options behind ? are malformed, write them like ?ttl=4&dscp=0")
	}
	for name, v := range values {
		known := false
		for _, a := range allowed {
			known = known || a == name
		}
		switch {
		case !known:
			return fmt.Errorf("%s has no option %q, only %s", d.Kind, name, strings.Join(allowed, ", "))
		case len(v) != 1:
			return fmt.Errorf("option %s stands there %d times", name, len(v))
		}
		if err := d.set(name, v[0]); err != nil {
			return err
		}
	}
	return nil
}

func (d *Destination) set(name, value string) (err error) {
	switch name {
	case "pkt_size":
		d.PacketSize, err = number(name, value, 188, 1472)
	case "ttl":
		d.TTL, err = number(name, value, 1, 255)
	case "dscp":
		d.DSCP, err = number(name, value, 0, 63)
	case "interface":
		d.Interface = value
	case "sdp":
		d.SDPFile = value
	case "mode":
		if value != "caller" && value != "listener" {
			return fmt.Errorf("mode is caller or listener, not %q", value)
		}
		d.Listener = value == "listener"
	case "latency":
		d.Latency, err = latency(value)
	case "passphrase", "token":
		d.secret = value
	case "pbkeylen":
		if value != "16" && value != "24" && value != "32" {
			return fmt.Errorf("pbkeylen is 16, 24 or 32, not %q", value)
		}
		d.KeyLength, err = number(name, value, 16, 32)
	case "streamid":
		if len(value) > 512 {
			return fmt.Errorf("streamid has %d bytes, more than the allowed 512", len(value))
		}
		d.StreamID = value
	case "max_clients":
		d.MaxClients, err = number(name, value, 1, 1000)
	}
	return err
}

func number(name, value string, least, most int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s is a number from %d to %d, not %q", name, least, most, value)
	}
	return n, nil
}

func latency(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if ms, e := strconv.Atoi(value); e == nil {
		d, err = time.Duration(ms)*time.Millisecond, nil
	}
	if err != nil || d < 20*time.Millisecond || d > 30*time.Second {
		return 0, fmt.Errorf("latency is from 20ms to 30s, not %q", value)
	}
	return d, nil
}

// check looks at what must fit together.
func (d *Destination) check() error {
	switch {
	case d.Kind == RTP && d.PacketSize < 256:
		return fmt.Errorf("pkt_size %d is too small for RTP, at least 256", d.PacketSize)
	case d.Kind == RTP && d.Port == 65535:
		return errors.New("port 65535 leaves none above it for RTCP")
	case d.Kind != RTP && (d.PacketSize%tsPacket != 0 || d.PacketSize > 7*tsPacket):
		return fmt.Errorf("pkt_size %d is not a multiple of %d up to %d", d.PacketSize, tsPacket, 7*tsPacket)
	case d.Host == "" && !d.listens():
		return fmt.Errorf(`no host, write it like "%s://192.0.2.10:%d"`, d.Kind, d.Port)
	case d.secret == "":
		return nil
	}
	return d.checkSecret()
}

func (d *Destination) checkSecret() error {
	n := len(d.secret)
	switch d.Kind {
	case SRT:
		if n < 10 || n > 79 { // SRTO_PASSPHRASE
			return fmt.Errorf("the passphrase has %d characters, it must have 10 to 79", n)
		}
	case Server:
		if n < minToken || n > maxToken || strings.ContainsFunc(d.secret, notInToken) {
			return fmt.Errorf("the token must have %d to %d letters, digits or signs, and no spaces", minToken, maxToken)
		}
	default:
		return fmt.Errorf("%s:// sends in the clear and has no use for a token", d.Kind)
	}
	return nil
}

func notInToken(r rune) bool { return r <= ' ' || r > '~' }

// listens tells whether receivers come to us.
func (d *Destination) listens() bool { return d.Kind == Server || d.Kind == SRT && d.Listener }

// WithSecret returns d with the passphrase (srt) or the token (udp-server),
// for those who keep it in a file and not in the URL.
func (d Destination) WithSecret(s string) (Destination, error) {
	d.secret = s
	if err := d.checkSecret(); err != nil {
		return Destination{}, fmt.Errorf("push %s: %w", d, err)
	}
	return d, nil
}

// CheckExposure returns an error for a destination that would serve the whole
// network without a secret.
func (d Destination) CheckExposure() error {
	if !d.listens() || d.secret != "" || loopback(d.Host) {
		return nil
	}
	option := "token"
	if d.Kind == SRT {
		option = "passphrase"
	}
	return fmt.Errorf("%s would serve everybody who reaches this machine: give it a %s, or listen on localhost", d, option)
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// String returns the URL without its options, and so without secrets.
func (d Destination) String() string { return string(d.Kind) + "://" + d.address() }

// GoString is String, for %#v.
func (d Destination) GoString() string { return d.String() }

func (d Destination) address() string { return net.JoinHostPort(d.Host, strconv.Itoa(int(d.Port))) }
