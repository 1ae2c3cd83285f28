package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pion/stun/v4"
)

// check fills in defaults that depend on other keys, and reports values and
// combinations that can't work.
func (c *Config) check(r *report) {
	c.Viewer.check(r)
	if c.WebRTC.Listen == (Address{}) {
		c.WebRTC.Listen = Address{Host: c.Viewer.Listen.Host, Port: defaultWebRTCPort}
	}
	c.WebRTC.check(r)
	if c.WebRTC.Listen == c.Viewer.Listen && c.Viewer.Listen.Port != 0 {
		r.problem("webrtc.listen", "port %d is the viewer's, choose another", c.WebRTC.Listen.Port)
	}
	c.Recording.check(r)
	c.Offload.check(r, &c.Recording)
	if len(c.Cameras) == 0 {
		r.problem("camera", `there is no camera, add [[camera]] with name and source = "test"`)
	}
	for i := range c.Cameras {
		c.Cameras[i].check(r, element("camera", i))
		c.checkAgainstOthers(r, i)
		if c.Offload.When == OffloadIdle && len(c.Cameras[i].Pushes) > 0 {
			r.warning("offload.when", "nothing is sent while camera %q is pushed, which is as long as somebody takes it", c.Cameras[i].Name)
		}
	}
}

// checkAgainstOthers reports what camera i shares with one before it, or with
// [webrtc], and must not.
func (c *Config) checkAgainstOthers(r *report, i int) {
	camera, path := c.Cameras[i], element("camera", i)
	for _, other := range c.Cameras[:i] {
		if camera.Name != "" && strings.EqualFold(camera.Name, other.Name) {
			r.problem(path+".name", "%q is taken by another camera, choose another name", camera.Name)
			break
		}
	}
	if camera.Listen == (UDPAddress{}) {
		return
	}
	for _, other := range c.Cameras[:i] {
		if other.Listen != (UDPAddress{}) && camera.Listen.overlaps(other.Listen) {
			r.problem(path+".listen", "camera %q listens there, choose another port", other.Name)
			return
		}
	}
	if camera.Listen.Port == c.WebRTC.Listen.Port {
		r.problem(path+".listen", "port %d is the one of [webrtc], choose another", camera.Listen.Port)
	}
}

func (v *Viewer) check(r *report) {
	closed := v.Password.IsSet() || v.Token.IsSet()
	asked := r.has("viewer.password") || r.has("viewer.password_file") || r.has("viewer.token") || r.has("viewer.token_file")
	switch open := !v.Listen.Loopback(); {
	case open && !closed && !asked: // a secret that failed is a problem already
		r.problem("viewer.listen", `everybody in the network could watch, add: password_file = "/etc/lenscast/password"`)
	case open && v.TLS == TLSOff:
		r.warning("viewer.listen", `passwords cross the network unencrypted, add: tls = "self-signed"`)
	}
	for _, key := range []string{"viewer.password", "viewer.token"} {
		if r.open && r.has(key) {
			r.warning(key, "other users can read %s, run: chmod 600 %[1]s", r.file)
		}
	}
	v.TLSCert, v.TLSKey = inFolderOf(r.file, v.TLSCert), inFolderOf(r.file, v.TLSKey)
	if v.TLS == TLSFiles {
		v.checkCertificate(r)
	} else {
		for _, key := range []string{"viewer.tls_cert", "viewer.tls_key"} {
			if r.has(key) {
				r.problem(key, `remove it, or write tls = "files"`)
			}
		}
	}
	if v.MaxViewers < 1 || v.MaxViewers > 1000 {
		r.problem("viewer.max_viewers", "%d is out of range, write 1 to 1000", v.MaxViewers)
	}
}

func (v *Viewer) checkCertificate(r *report) {
	if v.TLSCert == "" || v.TLSKey == "" {
		r.problem("viewer.tls", `"files" needs tls_cert and tls_key, the names of two PEM files`)
		return
	}
	cert, _, certErr := readRegular(v.TLSCert, maxFileSize)
	privateKey, _, keyErr := readRegular(v.TLSKey, maxFileSize)
	if certErr != nil {
		r.problem("viewer.tls_cert", "%s", certErr)
	}
	if keyErr != nil {
		r.problem("viewer.tls_key", "%s", keyErr)
	}
	if certErr != nil || keyErr != nil {
		return
	}
	pair, err := tls.X509KeyPair(cert, privateKey)
	if err != nil {
		r.problem("viewer.tls_cert", "certificate and key don't work: %s", strings.TrimPrefix(err.Error(), "tls: "))
		return
	}
	if words := CertificateWarning(pair.Leaf, time.Now()); words != "" {
		r.warning("viewer.tls_cert", "%s", words)
	}
}

// renewBefore is how long before its end a certificate should have been
// renewed: those who renew by themselves do so a month before.
const renewBefore = 14 * 24 * time.Hour

// CertificateWarning says what is wrong with the dates of a certificate, empty
// when nothing is. It is only a warning: it is this machine's clock that may be
// wrong.
func CertificateWarning(cert *x509.Certificate, now time.Time) string {
	switch {
	case now.After(cert.NotAfter):
		return fmt.Sprintf("the certificate expired on %s and is refused, renew it", cert.NotAfter.Format(time.DateOnly))
	case now.Before(cert.NotBefore):
		return fmt.Sprintf("the certificate begins on %s, and here it is %s: set the clock",
			cert.NotBefore.Format(time.DateOnly), now.Format(time.DateOnly))
	case now.After(cert.NotAfter.Add(-renewBefore)) && cert.NotAfter.Sub(cert.NotBefore) > 2*renewBefore:
		return fmt.Sprintf("the certificate expires on %s, renew it", cert.NotAfter.Format(time.DateOnly))
	}
	return ""
}

func (w *WebRTC) check(r *report) {
	for i, server := range w.ICEServers {
		server.check(r, element("webrtc.ice_servers", i))
	}
	for i, ip := range w.PublicAddresses {
		if ip.IsValid() && (ip.IsUnspecified() || ip.IsMulticast() || ip.IsLoopback()) {
			r.problem(element("webrtc.public_addresses", i), "%s can't be reached from outside, write the address of your router", ip)
		}
	}
}

func (s ICEServer) check(r *report, path string) {
	uri, err := stun.ParseURI(s.URL)
	if err != nil {
		r.problem(path+".url", `%.60q is not a STUN or TURN server, write it like "stun:stun.example.org:3478"`, s.URL)
		return
	}
	isTURN := uri.Scheme == stun.SchemeTypeTURN || uri.Scheme == stun.SchemeTypeTURNS
	asked := r.has(path+".password") || r.has(path+".password_file")
	switch {
	case isTURN && (s.Username == "" || !s.Password.IsSet() && !asked):
		r.problem(path+".url", "a TURN server needs username and password_file")
	case !isTURN && (s.Username != "" || s.Password.IsSet()):
		r.problem(path+".url", "a STUN server takes no username and password, remove them")
	}
}

func (c *Recording) check(r *report) {
	c.Dir, c.Mount = inFolderOf(r.file, c.Dir), inFolderOf(r.file, c.Mount)
	check := func(key string, inRange bool, format string, args ...any) {
		if key = join("recording", key); !r.wrong(key) && !inRange {
			r.problem(key, format, args...)
		}
	}
	if c.Dir == "" && r.has("recording") && !r.wrong("recording.dir") {
		r.warning("recording", `nothing is recorded without a folder, add: dir = "/var/lib/lenscast/recordings"`)
	}
	below, err := filepath.Rel(c.Mount, c.Dir)
	check("require_mount", c.Mount == "" || err == nil && filepath.IsLocal(below),
		"dir is not on the disk mounted there, write the folder above %s that is", c.Dir)
	check("name", strings.Contains(c.Name, "{camera}") && (strings.Contains(c.Name, "{time}") || strings.Contains(c.Name, "{sequence}")),
		"%q is one name for all, it needs {camera} and {time} or {sequence}", c.Name)
	example := strings.NewReplacer("{camera}", "a", "{date}", "a", "{time}", "a", "{sequence}", "a").Replace(c.Name)
	check("name", filepath.IsLocal(example) && filepath.Clean(example) == example && !strings.ContainsAny(example, "{}"),
		"%q is not a path below dir, of text and {camera}, {date}, {time}, {sequence}", c.Name)
	check("segment", c.Segment >= Duration(10*time.Second) && c.Segment <= Duration(24*time.Hour),
		`%s is out of range, write "10s" to "24h"`, c.Segment)
	check("segment_size", c.SegmentSize == 0 || c.SegmentSize >= 10<<20, `%s is too small, write at least "10MiB"`, c.SegmentSize)
	check("max_loss", c.MaxLoss >= Duration(500*time.Millisecond) && c.MaxLoss <= Duration(time.Minute),
		`%s is out of range, write "500ms" to "1m"`, c.MaxLoss)
	check("pre_roll", c.PreRoll <= Duration(10*time.Minute), `%s is out of range, write at most "10m"`, c.PreRoll)
	check("pre_roll_size", c.PreRollSize >= 1<<20 && c.PreRollSize <= 1<<30,
		`%s is out of range, write "1MiB" to "1GiB"`, c.PreRollSize)
}

func (c *Camera) check(r *report, path string) {
	c.checkName(r, path)
	c.checkPushes(r, path)
	switch c.Source {
	case SourceTest:
		c.refuse(r, path, "a test picture receives nothing", "listen")
		c.checkEncoding(r, path)
		c.fillTest()
		if c.MinBitrate > c.Bitrate && !r.wrong(path+".min_bitrate") {
			r.problem(join(path, "min_bitrate"), "it is more than the bitrate of %s, write less", c.Bitrate)
		}
	case SourceMPEGTS:
		c.refuse(r, path, "the sender decides", "size", "fps", "bitrate", "min_bitrate", "keyframe_interval")
		if c.Listen == (UDPAddress{}) && !r.has(path+".listen") {
			r.problem(path, `source "mpegts" needs an address, add: listen = "udp://127.0.0.1:8554"`)
		}
		if c.Listen != (UDPAddress{}) && !c.Listen.Loopback() {
			r.warning(path+".listen", "whoever reaches %s can show a picture here, let a firewall guard it", c.Listen)
		}
	default:
		if !r.has(path + ".source") {
			r.problem(path, `the camera has no source, add: source = "test"`)
		}
	}
}

// maxNameLength bounds a camera's name, which is part of addresses.
const maxNameLength = 32

func (c *Camera) checkName(r *report, path string) {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	switch {
	case c.Name == "" && !r.has(path+".name"):
		r.problem(path, `the camera has no name, add: name = "front"`)
	case c.Name == "" || len(c.Name) > maxNameLength || strings.Trim(c.Name, allowed) != "":
		if r.wrong(path + ".name") {
			return
		}
		r.problem(path+".name", "%.40q can't be part of an address, use 1 to %d letters, digits, - and _", c.Name, maxNameLength)
	}
}

// checkEncoding reports values out of range among those that were written.
func (c *Camera) checkEncoding(r *report, path string) {
	check := func(key string, inRange bool, format string, args ...any) {
		if key = join(path, key); r.has(key) && !r.wrong(key) && !inRange {
			r.problem(key, format, args...)
		}
	}
	check("size", min(c.Size.Width, c.Size.Height) >= 64 && max(c.Size.Width, c.Size.Height) <= 4096,
		"%s is out of range, each side has 64 to 4096 pixels", c.Size)
	check("fps", c.FPS >= 1 && c.FPS <= 120, "%d is out of range, write 1 to 120", c.FPS)
	check("bitrate", c.Bitrate >= 100_000 && c.Bitrate <= 100_000_000,
		`%s is out of range, write "100kbit" to "100Mbit"`, c.Bitrate)
	check("min_bitrate", c.MinBitrate >= 50_000, `%s is too little for a picture, write at least "50kbit"`, c.MinBitrate)
	check("keyframe_interval", c.KeyframeInterval >= Duration(100*time.Millisecond) && c.KeyframeInterval <= Duration(time.Minute),
		`%s is out of range, write "100ms" to "1m"`, c.KeyframeInterval)
}

// refuse reports keys that don't apply to the camera's source. What is wrong
// with their values does not matter then.
func (c *Camera) refuse(r *report, path, why string, keys ...string) {
	for _, key := range keys {
		if key = join(path, key); r.has(key) {
			r.problems = slices.DeleteFunc(r.problems, func(f found) bool { return f.path == key })
			r.problem(key, "remove it, source %q has none: %s", c.Source, why)
		}
	}
}
