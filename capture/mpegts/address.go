package mpegts

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
)

// address is where to listen.
type address struct {
	text string
	host netip.Addr // invalid: any address of either family
	port uint16
	via  string // interface to join a group at, "" for the default
}

// String returns the address as the user wrote it.
func (a address) String() string { return a.text }

func (a address) multicast() bool { return a.host.IsMulticast() }

// network is the one for package net: both families only without a host.
func (a address) network() string {
	switch {
	case !a.host.IsValid():
		return "udp"
	case a.host.Is4():
		return "udp4"
	}
	return "udp6"
}

// hostPort is the address for package net. A group is bound to, so that what
// other groups get at the same port does not come in.
func (a address) hostPort() string {
	if !a.host.IsValid() {
		return ":" + strconv.Itoa(int(a.port))
	}
	return netip.AddrPortFrom(a.host, a.port).String()
}

func parseAddress(text string) (address, error) {
	fail := func(why string) (address, error) {
		return address{}, fmt.Errorf("listen %q: %s: write it like udp://:8554 or udp://239.0.0.1:5000?interface=eth0", text, why)
	}
	u, err := url.Parse(text)
	if err != nil {
		return fail("not an address")
	}
	if u.Scheme != "udp" {
		return fail("only udp:// can be listened at")
	}
	if u.Path != "" || u.Fragment != "" || u.User != nil {
		return fail("there is more in it than host and port")
	}
	a := address{text: text}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || port == 0 {
		return fail("the port is missing or not between 1 and 65535")
	}
	a.port = uint16(port)
	if host := u.Hostname(); host != "" {
		if a.host, err = netip.ParseAddr(host); err != nil {
			return fail("the host is no IP address of this machine")
		}
		a.host = a.host.Unmap()
	}
	for key, values := range u.Query() {
		if key != "interface" || len(values) != 1 || values[0] == "" {
			return fail("the only option is interface=NAME, once")
		}
		a.via = values[0]
	}
	if a.via != "" && !a.multicast() {
		return fail("an interface can be chosen for a multicast group only")
	}
	return a, nil
}
