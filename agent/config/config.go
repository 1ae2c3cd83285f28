// Package config reads the configuration: one TOML file into one validated
// struct.
//
// What the file leaves out keeps the value it has in [Default]. Everything
// that is wrong with a file is found in one run and reported as [Problems],
// each with its line, its key and what to write instead.
//
// # Secrets
//
// A password or token comes from the first of these that has it:
//
//  1. the systemd credential called like the key, "viewer.password"
//     (LoadCredential=, systemd.exec(5));
//  2. the file that the key with "_file" behind its name tells;
//  3. the environment, LENSCAST_VIEWER_PASSWORD;
//  4. the TOML file itself.
//
// The first and third exist for the keys of [viewer] and [offload] only. Secrets
// are never printed, see [Secret].
//
// # A new table
//
// A table is a struct with toml tags, a field of [Config], its defaults in
// [Default], a check method called by (*Config).check, and its line in [Diff].
// Decoding, unknown keys, positions and printing follow from the struct.
//
// The package has many names, because every table of the file is a type here and
// every word that a key knows is a constant: one vocabulary, that of the file.
// lenscast send and receive read their flags with the types of its values.
package config

import (
	"cmp"
	"fmt"
	"math"
	"time"
)

// DefaultPath is where the command looks when it is not told.
const DefaultPath = "/etc/lenscast.toml"

// Config is a whole configuration.
type Config struct {
	Viewer    Viewer    `toml:"viewer"`
	WebRTC    WebRTC    `toml:"webrtc"`
	Log       Log       `toml:"log"`
	Recording Recording `toml:"recording"`
	Offload   Offload   `toml:"offload"`
	Cameras   []Camera  `toml:"camera"`

	warnings Problems
}

// Viewer is the [viewer] table: the web server with the viewer page.
type Viewer struct {
	Listen     Address `toml:"listen"`      // TCP; beyond loopback only with a password or token
	Password   Secret  `toml:"password"`    // for people
	Token      Secret  `toml:"token"`       // for programs, sent as a bearer token
	TLS        TLSMode `toml:"tls"`         // off, self-signed or files
	TLSCert    string  `toml:"tls_cert"`    // PEM file, with tls = "files"
	TLSKey     string  `toml:"tls_key"`     // PEM file, with tls = "files"
	MaxViewers int     `toml:"max_viewers"` // at the same time, 1 to 1000
}

// WebRTC is the [webrtc] table: how the pictures travel.
type WebRTC struct {
	Listen          Address     `toml:"listen"`           // UDP and TCP; by default port 8555 on the viewer's host
	ICEServers      []ICEServer `toml:"ice_servers"`      // STUN and TURN
	PublicAddresses []IP        `toml:"public_addresses"` // of the router that forwards the port
}

// ICEServer is one STUN or TURN server.
type ICEServer struct {
	URL      string `toml:"url"` // stun:, stuns:, turn: or turns: (RFC 7064, RFC 7065)
	Username string `toml:"username"`
	Password Secret `toml:"password"`
}

// Log is the [log] table.
type Log struct {
	Level  LogLevel  `toml:"level"`
	Format LogFormat `toml:"format"`
}

// Recording is the [recording] table: what is written to disk, and how long it
// stays there. Without Dir nothing is recorded.
type Recording struct {
	Dir         string        `toml:"dir"`
	Mount       string        `toml:"require_mount"` // the folder that a disk must be mounted at, empty: none
	Mode        RecordingMode `toml:"mode"`          // always or manual
	Audio       bool          `toml:"audio"`         // record the sound, too, where a camera sends AAC
	Name        string        `toml:"name"`          // template of the files' names, see configs/reference.toml
	Segment     Duration      `toml:"segment"`       // length of a recording, 10 s to 24 h
	SegmentSize Size          `toml:"segment_size"`  // at most this much in one recording, 0: any
	MaxLoss     Duration      `toml:"max_loss"`      // lost of the running one when the power goes, 0.5 s to 1 min
	PreRoll     Duration      `toml:"pre_roll"`      // what came before a start by hand, up to 10 min
	PreRollSize Size          `toml:"pre_roll_size"` // memory that it may take
	KeepFree    Size          `toml:"keep_free"`     // of the disk
	MaxAge      Duration      `toml:"max_age"`       // of a recording, 0: any
	MaxSize     Size          `toml:"max_size"`      // of all recordings together, 0: any
}

// Camera is one [[camera]] table. Which keys apply depends on the source.
type Camera struct {
	Name             string     `toml:"name"`
	Source           SourceKind `toml:"source"`
	Listen           UDPAddress `toml:"listen"`            // mpegts: where the stream arrives
	Size             Resolution `toml:"size"`              // test: pixels
	FPS              int        `toml:"fps"`               // test: pictures per second, 1 to 120
	Bitrate          Rate       `toml:"bitrate"`           // test: 100 kbit/s to 100 Mbit/s
	MinBitrate       Rate       `toml:"min_bitrate"`       // test: what a slow network may bring it down to
	KeyframeInterval Duration   `toml:"keyframe_interval"` // test: 0.1 s to 60 s
	Pushes           []Push     `toml:"push"`              // where else the stream goes
}

// defaultWebRTCPort is the port of [webrtc] listen, on the viewer's host.
const defaultWebRTCPort = 8555

// fillTest fills in what a [[camera]] with source = "test" may leave out.
func (c *Camera) fillTest() {
	if c.Size == (Resolution{}) {
		c.Size = Resolution{Width: 1280, Height: 720}
	}
	c.FPS = cmp.Or(c.FPS, 30)
	if c.Bitrate == 0 {
		// 0.1 bit a pixel: 2.8 Mbit/s for 1280x720 at 30 fps.
		pixels := float64(c.Size.Width * c.Size.Height * c.FPS)
		c.Bitrate = Rate(max(1, math.Round(0.1*pixels/100_000))) * 100_000
	}
	// Far enough down for a bad mobile network.
	c.MinBitrate = cmp.Or(c.MinBitrate, max(c.Bitrate/10, min(c.Bitrate, 100_000)))
	c.KeyframeInterval = cmp.Or(c.KeyframeInterval, Duration(2*time.Second))
}

// Default returns the configuration without any file: a test picture on
// http://localhost:8080.
func Default() *Config {
	camera := Camera{Name: "test", Source: SourceTest}
	camera.fillTest()
	return &Config{
		Viewer: Viewer{
			Listen:     Address{Host: "localhost", Port: 8080},
			TLS:        TLSOff,
			MaxViewers: 50,
		},
		WebRTC: WebRTC{Listen: Address{Host: "localhost", Port: defaultWebRTCPort}},
		Log:    Log{Level: LogInfo, Format: LogText},
		Recording: Recording{
			Mode:        RecordAlways,
			Audio:       true,
			Name:        "{camera}/{date}/{camera}_{time}",
			Segment:     Duration(10 * time.Minute),
			MaxLoss:     Duration(2 * time.Second),
			PreRollSize: 32 << 20,
			KeepFree:    2 << 30,
		},
		Offload: Offload{
			OffloadServer: OffloadServer{TLS: TransferTLSOn},
			Order:         OldestFirst,
			When:          OffloadAlways,
			Unsent:        UnsentKeep,
		},
		Cameras: []Camera{camera},
	}
}

// Checks judge what this package can't, because those who send know it. They
// are asked about what has nothing else wrong with it; nil knows of nothing.
type Checks struct {
	// Push judges the push of a camera that has this index.
	Push func(c *Camera, i int) error
	// Server judges a server of [offload].
	Server func(o *Offload, s OffloadServer) error
}

// Load reads and validates the file at path. Relative paths in it start at its
// own folder. The error is [Problems] when the content is wrong.
func Load(path string, checks Checks) (*Config, error) {
	data, open, err := readRegular(path, maxFileSize)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parse(&report{file: path, data: data, open: open, checks: checks})
}

// LoadDefault returns Default, with secrets from the systemd credentials and
// the environment.
func LoadDefault() (*Config, error) { return parse(&report{file: "default configuration"}) }

// Warnings returns what is allowed but unwise in the file.
func (c *Config) Warnings() Problems { return c.warnings }

func parse(r *report) (*Config, error) {
	cfg := Default()
	cfg.WebRTC.Listen = Address{} // follows the viewer's host
	decodeFile(r, cfg)
	if r.readable {
		cfg.check(r)
	}
	if len(r.problems) > 0 {
		return nil, r.sorted(r.problems)
	}
	cfg.warnings = r.sorted(r.warnings)
	return cfg, nil
}
