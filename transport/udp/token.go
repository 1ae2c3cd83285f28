package udp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"time"
)

// Bounds of a token in bytes.
const (
	minToken = 16
	maxToken = 128
)

// The words of the subscription protocol, see README.md.
const (
	wordSubscribe = "subscribe"
	wordCookie    = "cookie"
	wordLeave     = "leave"
)

// cookieSize is the length of a cookie in hexadecimal digits: 64 bits, of
// which a guess costs one datagram each.
const cookieSize = 16

// cookieLife is how long a cookie opens a subscription, at least; at most
// twice as long.
const cookieLife = 15 * time.Second

// cookies makes and checks the proofs that a client receives at the address it
// sends from. Nothing is stored for a client that has not answered: the cookie
// itself says that it was made here, for that address, not long ago.
type cookies struct {
	key   [32]byte
	start time.Time
}

func newCookies(now time.Time) *cookies {
	c := &cookies{start: now}
	_, _ = rand.Read(c.key[:]) // never fails, see crypto/rand
	return c
}

// of returns the cookie of an address.
func (c *cookies) of(client netip.AddrPort, now time.Time) string {
	return c.ofPeriod(client, c.period(now))
}

// valid tells whether a cookie was made for that address in this period or the
// one before.
func (c *cookies) valid(cookie string, client netip.AddrPort, now time.Time) bool {
	period := c.period(now)
	return equal(cookie, c.ofPeriod(client, period)) || equal(cookie, c.ofPeriod(client, period-1))
}

func (c *cookies) period(now time.Time) int64 { return int64(now.Sub(c.start) / cookieLife) }

func (c *cookies) ofPeriod(client netip.AddrPort, period int64) string {
	mac := hmac.New(sha256.New, c.key[:])
	text, _ := client.MarshalBinary() // never fails
	mac.Write(text)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(period)))
	return hex.EncodeToString(mac.Sum(nil)[:cookieSize/2])
}

// equal compares in a time that does not depend on the contents.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
