package config

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Offload is the [offload] table: where finished recordings are sent, when,
// and what becomes of them here. Without Server they stay here.
type Offload struct {
	OffloadServer
	Fallback []OffloadServer `toml:"fallback"` // tried in order when those before do not answer

	Agent     string         `toml:"agent"`     // the folder at the server; empty for the host's name
	Order     OffloadOrder   `toml:"order"`     // oldest or newest
	When      OffloadWhen    `toml:"when"`      // always or idle
	Windows   []TimeWindow   `toml:"windows"`   // times of day, empty for all day
	Interface string         `toml:"interface"` // such as "wlan0", empty for any
	MaxRate   Rate           `toml:"max_rate"`  // 0: any
	After     AfterOffload   `toml:"after"`     // what happens to what was sent
	Unsent    UnsentWhenFull `toml:"unsent"`    // keep or delete
}

// OffloadServer is a receiver of recordings.
type OffloadServer struct {
	Server Address     `toml:"server"`
	Token  Secret      `toml:"token"` // that the receiver knows
	TLS    TransferTLS `toml:"tls"`   // on or off
	Pin    string      `toml:"pin"`   // the receiver's public key, "sha256//..."
	CA     string      `toml:"ca"`    // PEM file of who signed the receiver's certificate
	Cert   string      `toml:"cert"`  // PEM file of a certificate of our own
	Key    string      `toml:"key"`   // PEM file of its key
}

// Servers returns all servers in the order in which they are tried, none
// without [offload].
func (o *Offload) Servers() []OffloadServer {
	if o.Server == (Address{}) {
		return nil
	}
	return append([]OffloadServer{o.OffloadServer}, o.Fallback...)
}

// maxInterfaceName is IFNAMSIZ of linux/if.h without the NUL at the end.
const maxInterfaceName = 15

func (o *Offload) check(r *report, rec *Recording) {
	for i := range o.Fallback {
		o.Fallback[i].TLS = cmp.Or(o.Fallback[i].TLS, TransferTLSOn)
	}
	switch {
	case !r.has("offload"):
		return
	case !r.has("offload.server") && len(o.Fallback) == 0:
		r.warning("offload", `nothing is sent without a server, add: server = "files.example.org:9000"`)
		return
	}
	o.OffloadServer.check(r, o, "offload")
	for i := range o.Fallback {
		o.Fallback[i].check(r, o, element("offload.fallback", i))
	}
	servers := o.Servers()
	for i := range servers {
		for _, other := range servers[:i] {
			if servers[i].Server == other.Server && other.Server != (Address{}) {
				r.problem(element("offload.fallback", i-1)+".server", "%s is there already, remove one of the two", other.Server)
			}
		}
	}
	if rec.Dir == "" && !r.wrong("recording.dir") {
		r.problem("offload", `nothing is recorded that could be sent, add: [recording] with dir = "/var/lib/lenscast/recordings"`)
	}
	// What was sent is noted on the same disk. When that is full of what no
	// server has, and is kept, there must be room for the note.
	if o.Unsent == UnsentKeep && rec.KeepFree < minKeepFree && !r.wrong("recording.keep_free") {
		r.problem("recording.keep_free", `%s leaves no room to note what was sent, write at least "%s", or [offload] with unsent = "delete"`,
			rec.KeepFree, Size(minKeepFree))
	}
	if o.MaxRate != 0 && o.MaxRate < 64_000 && !r.wrong("offload.max_rate") {
		r.problem("offload.max_rate", `%s is too little, write at least "64kbit"`, o.MaxRate)
	}
	if len(o.Interface) > maxInterfaceName || strings.ContainsAny(o.Interface, " /:\x00") {
		r.problem("offload.interface", `%.40q is not the name of a network interface, write it like "wlan0"`, o.Interface)
	}
}

// minKeepFree is room for marks of some thousand recordings.
const minKeepFree = 16 << 20

func (s *OffloadServer) check(r *report, o *Offload, path string) {
	key := path + ".server"
	switch {
	case r.wrong(key):
	case s.Server == (Address{}):
		r.problem(path, `where to? add: server = "files.example.org:9000"`)
	case s.Server.Host == "" || s.Server.Port == 0:
		r.problem(key, `%q is not an address to send to, write it like "files.example.org:9000"`, s.Server)
	}
	s.CA, s.Cert, s.Key = inFolderOf(r.file, s.CA), inFolderOf(r.file, s.Cert), inFolderOf(r.file, s.Key)
	switch {
	case s.Pin != "" && s.CA != "":
		r.problem(path+".ca", "pin says which key to trust, remove one of the two")
	case s.TLS == TransferTLSOff && (s.Pin != "" || s.CA != "" || s.Cert != ""):
		r.problem(path+".tls", "without TLS there is no use for pin, ca and cert, remove them")
	case s.TLS == TransferTLSOff && !s.Server.Loopback():
		r.warning(path+".tls", "recordings and the token cross the network unencrypted")
	}
	if (s.Cert == "") != (s.Key == "") {
		r.problem(path, "cert and key belong together, write both or none")
	}
	for _, f := range []struct{ key, name string }{{"ca", s.CA}, {"cert", s.Cert}, {"key", s.Key}} {
		if f.name == "" {
			continue
		}
		if _, _, err := readRegular(f.name, maxFileSize); err != nil {
			r.problem(join(path, f.key), "%s", err)
		}
	}
	if r.checks.Server != nil && !r.wrongBelow(path) {
		if err := r.checks.Server(o, *s); err != nil {
			r.problem(path, "%s", err)
		}
	}
}

// TransferTLS says whether what is sent is encrypted.
type TransferTLS string

// Whether what is sent is encrypted.
const (
	TransferTLSOn  TransferTLS = "on" // on loopback only with a pin or ca
	TransferTLSOff TransferTLS = "off"
)

// UnmarshalText accepts one of the two.
func (t *TransferTLS) UnmarshalText(text []byte) error {
	return choose(t, text, TransferTLSOn, TransferTLSOff)
}

func (TransferTLS) example() string { return `"on"` }

// OffloadOrder says which recording is sent first.
type OffloadOrder string

// The orders.
const (
	OldestFirst OffloadOrder = "oldest"
	NewestFirst OffloadOrder = "newest"
)

// UnmarshalText accepts one of the orders.
func (o *OffloadOrder) UnmarshalText(text []byte) error {
	return choose(o, text, OldestFirst, NewestFirst)
}

func (OffloadOrder) example() string { return `"oldest"` }

// OffloadWhen says when recordings are sent.
type OffloadWhen string

// When recordings are sent.
const (
	OffloadAlways OffloadWhen = "always"
	OffloadIdle   OffloadWhen = "idle" // while nobody watches and nothing is pushed
)

// UnmarshalText accepts one of the two.
func (w *OffloadWhen) UnmarshalText(text []byte) error {
	return choose(w, text, OffloadAlways, OffloadIdle)
}

func (OffloadWhen) example() string { return `"idle"` }

// UnsentWhenFull says what is done with recordings that no server has when
// their room is needed.
type UnsentWhenFull string

// What is done with recordings that were not sent.
const (
	UnsentKeep   UnsentWhenFull = "keep"   // then there is no room to record
	UnsentDelete UnsentWhenFull = "delete" // like all others
)

// UnmarshalText accepts one of the two.
func (u *UnsentWhenFull) UnmarshalText(text []byte) error {
	return choose(u, text, UnsentKeep, UnsentDelete)
}

func (UnsentWhenFull) example() string { return `"keep"` }

// AfterOffload says what happens to a recording that a server has confirmed:
// "keep" it until its room is needed, "delete" it at once, or when it is so
// old: "7d" or "36h".
type AfterOffload struct {
	Delete bool
	Age    Duration // with Delete
}

// UnmarshalText parses one of the words or an age.
func (a *AfterOffload) UnmarshalText(text []byte) error {
	switch s := string(text); s {
	case "keep":
		*a = AfterOffload{}
		return nil
	case "delete":
		*a = AfterOffload{Delete: true}
		return nil
	default:
		// More than 100 years are no time.Duration.
		days, ok := strings.CutSuffix(s, "d")
		if ok && isDigits(days) && len(days) <= 4 {
			var n int64
			for _, digit := range days {
				n = 10*n + int64(digit-'0')
			}
			*a = AfterOffload{Delete: true, Age: Duration(n * int64(24*time.Hour))}
			return nil
		}
		var age Duration
		if err := age.UnmarshalText(text); err != nil {
			return fmt.Errorf(`%q is unknown, choose "keep", "delete" or an age like "7d" or "36h"`, text)
		}
		*a = AfterOffload{Delete: true, Age: age}
		return nil
	}
}

// String writes it as it is read.
func (a AfterOffload) String() string {
	const day = Duration(24 * time.Hour)
	switch {
	case !a.Delete:
		return "keep"
	case a.Age == 0:
		return "delete"
	case a.Age%day == 0:
		return fmt.Sprintf("%dd", a.Age/day)
	default:
		return a.Age.String()
	}
}

// MarshalText is String.
func (a AfterOffload) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

func (AfterOffload) example() string { return `"7d"` }

// TimeWindow is a time of day, every day, in local time, written
// "22:00-06:00".
type TimeWindow struct{ From, To Duration } // since midnight

// UnmarshalText parses a window. It may go over midnight.
func (w *TimeWindow) UnmarshalText(text []byte) error {
	from, to, ok := strings.Cut(string(text), "-")
	f, errFrom := parseTimeOfDay(from)
	t, errTo := parseTimeOfDay(to)
	if !ok || errFrom != nil || errTo != nil {
		return fmt.Errorf("%q is not a time of day, write it like %s", text, w.example())
	}
	if f == t {
		return fmt.Errorf("%q is empty, leave windows out to send all day", text)
	}
	*w = TimeWindow{f, t}
	return nil
}

func parseTimeOfDay(s string) (Duration, error) {
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, err
	}
	return Duration(time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute), nil
}

// String writes the window as it is read.
func (w TimeWindow) String() string {
	clock := func(d Duration) string {
		return fmt.Sprintf("%02d:%02d", int(time.Duration(d).Hours()), int(time.Duration(d).Minutes())%60)
	}
	return clock(w.From) + "-" + clock(w.To)
}

// MarshalText is String.
func (w TimeWindow) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

func (TimeWindow) example() string { return `"22:00-06:00"` }
