package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Address is where to listen, written "localhost:8080", "192.168.1.5:8080" or,
// for all addresses of the machine, ":8080". Port 0 is any free port.
type Address struct {
	Host string // empty for all addresses
	Port uint16
}

var errAddress = errors.New("no address")

// UnmarshalText parses an address. A name is taken as it is, not looked up.
func (a *Address) UnmarshalText(text []byte) error {
	v, err := parseAddress(string(text))
	if err != nil {
		return fmt.Errorf(`%q is not an address with a port, write it like %s`, text, a.example())
	}
	*a = v
	return nil
}

func parseAddress(s string) (Address, error) {
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return Address{}, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return Address{}, err
	}
	if _, err := netip.ParseAddr(host); err != nil && !isHostName(host) {
		return Address{}, errAddress
	}
	return Address{Host: host, Port: uint16(port)}, nil
}

// isHostName reports whether s looks like a DNS name (RFC 1123 section 2.1),
// or is empty.
func isHostName(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
	return len(s) <= 253 && strings.Trim(s, allowed) == "" && !strings.HasPrefix(s, "-")
}

// String writes host:port.
func (a Address) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))) }

// MarshalText is String, empty for the zero Address.
func (a Address) MarshalText() ([]byte, error) {
	if a == (Address{}) {
		return nil, nil
	}
	return []byte(a.String()), nil
}

// Loopback reports whether only this machine can reach the address.
func (a Address) Loopback() bool {
	if strings.EqualFold(a.Host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(a.Host)
	return err == nil && ip.Unmap().IsLoopback()
}

func (Address) example() string { return `"localhost:8080"` }

// UDPAddress is where datagrams arrive, written "udp://127.0.0.1:8554", for
// all addresses of the machine "udp://:8554", and for a multicast group
// "udp://239.0.0.1:5000?interface=eth0".
type UDPAddress struct {
	Host      netip.Addr // invalid for all addresses
	Port      uint16
	Interface string // where to join the group, empty for the default
}

// UnmarshalText parses an address. The port must not be 0: the sender has to
// know it.
func (u *UDPAddress) UnmarshalText(text []byte) error {
	v, err := parseUDPAddress(string(text))
	if err != nil {
		return fmt.Errorf(`%q is not a UDP address, write it like "udp://127.0.0.1:8554"`, text)
	}
	*u = v
	return nil
}

func parseUDPAddress(s string) (UDPAddress, error) {
	rest, ok := strings.CutPrefix(s, "udp://")
	rest, via, hasVia := strings.Cut(rest, "?interface=")
	hostPort, err := parseAddress(rest)
	if err != nil || !ok || hostPort.Port == 0 {
		return UDPAddress{}, errAddress
	}
	u := UDPAddress{Port: hostPort.Port, Interface: via}
	if hostPort.Host != "" {
		if u.Host, err = netip.ParseAddr(hostPort.Host); err != nil || u.Host.Zone() != "" {
			return UDPAddress{}, errAddress
		}
	}
	if hasVia && (!u.Host.IsMulticast() || !isInterfaceName(via)) {
		return UDPAddress{}, errAddress
	}
	return u, nil
}

// isInterfaceName reports whether s can be the name of a network interface
// (dev_valid_name in Linux's net/core/dev.c), in plain letters.
func isInterfaceName(s string) bool {
	return s != "" && len(s) < 16 && isHostName(s)
}

// String writes the address as it is parsed.
func (u UDPAddress) String() string {
	host := ""
	if u.Host.IsValid() {
		host = u.Host.String()
	}
	s := "udp://" + Address{Host: host, Port: u.Port}.String()
	if u.Interface != "" {
		s += "?interface=" + u.Interface
	}
	return s
}

// MarshalText is String, empty for the zero UDPAddress.
func (u UDPAddress) MarshalText() ([]byte, error) {
	if u == (UDPAddress{}) {
		return nil, nil
	}
	return []byte(u.String()), nil
}

// overlaps reports whether two sockets can't have both addresses.
func (u UDPAddress) overlaps(v UDPAddress) bool {
	return u.Port == v.Port && (u.Host == v.Host || !u.Host.IsValid() || !v.Host.IsValid())
}

// Loopback reports whether only this machine can send to the address.
func (u UDPAddress) Loopback() bool { return u.Host.Unmap().IsLoopback() }

func (UDPAddress) example() string { return `"udp://127.0.0.1:8554"` }

// IP is an IPv4 or IPv6 address.
type IP struct{ netip.Addr }

// UnmarshalText parses an address without a zone.
func (ip *IP) UnmarshalText(text []byte) error {
	v, err := netip.ParseAddr(string(text))
	if err != nil || v.Zone() != "" {
		return fmt.Errorf(`%q is not an IP address, write it like "203.0.113.7"`, text)
	}
	ip.Addr = v
	return nil
}

func (IP) example() string { return `"203.0.113.7"` }
