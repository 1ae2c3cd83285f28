package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time, written "250ms", "5s" or "1h30m". A number
// without a unit is refused.
type Duration time.Duration

// UnmarshalText parses a duration, which must not be negative.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	switch {
	case err != nil || isNumber(string(text)):
		return fmt.Errorf(`%q is not a duration, write it like "5s" or "1h30m"`, text)
	case v < 0:
		return fmt.Errorf("%q is negative", text)
	}
	*d = Duration(v)
	return nil
}

// String writes the duration without units that are zero: "10m", not "10m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (Duration) example() string { return `"5s"` }

// Size is a number of bytes, written "500MB" or "4GiB".
type Size int64

// Rate is a number of bits per second, written "800kbit" or "6Mbit".
type Rate int64

type unit struct {
	name  string
	bytes int64
}

// The largest unit that divides a value comes first, so that it is printed as
// it was written.
var (
	sizeUnits = []unit{
		{"TiB", 1 << 40},
		{"TB", 1e12},
		{"GiB", 1 << 30},
		{"GB", 1e9},
		{"MiB", 1 << 20},
		{"MB", 1e6},
		{"KiB", 1 << 10},
		{"kB", 1e3},
		{"B", 1},
	}
	rateUnits = []unit{{"Gbit", 1e9}, {"Mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}
)

// UnmarshalText parses a size.
func (s *Size) UnmarshalText(text []byte) error {
	v, err := parseUnits(string(text), sizeUnits)
	if err != nil {
		return fmt.Errorf(`%q is not a size, write it like "500MB" or "4GiB"`, text)
	}
	*s = Size(v)
	return nil
}

// String writes the size in the largest unit that needs no fraction.
func (s Size) String() string { return formatUnits(int64(s), sizeUnits) }

// MarshalText is String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (Size) example() string { return `"4GiB"` }

// UnmarshalText parses a rate.
func (r *Rate) UnmarshalText(text []byte) error {
	v, err := parseUnits(string(text), rateUnits)
	if err != nil {
		return fmt.Errorf(`%q is not a rate, write it like "800kbit" or "6Mbit"`, text)
	}
	*r = Rate(v)
	return nil
}

// String writes the rate in the largest unit that needs no fraction.
func (r Rate) String() string { return formatUnits(int64(r), rateUnits) }

// MarshalText is String.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func (Rate) example() string { return `"6Mbit"` }

var errUnits = errors.New("no number with a unit")

func parseUnits(s string, units []unit) (int64, error) {
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		number = strings.TrimRight(number, " ")
		if !isNumber(number) {
			continue // "4GiB" ends in "B" too
		}
		v, err := strconv.ParseFloat(number, 64)
		if err != nil || v*float64(u.bytes) >= math.MaxInt64 {
			return 0, errUnits
		}
		return int64(math.Round(v * float64(u.bytes))), nil
	}
	return 0, errUnits
}

func formatUnits(v int64, units []unit) string {
	best := units[len(units)-1]
	for _, u := range units {
		if v != 0 && v%u.bytes == 0 && len(strconv.FormatInt(v/u.bytes, 10)) < len(strconv.FormatInt(v/best.bytes, 10)) {
			best = u
		}
	}
	return strconv.FormatInt(v/best.bytes, 10) + best.name
}

// isNumber reports whether s is digits with at most one point between them.
func isNumber(s string) bool {
	whole, fraction, point := strings.Cut(s, ".")
	return isDigits(whole) && (!point || isDigits(fraction))
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// Resolution is the size of a picture in pixels, written "1920x1080".
type Resolution struct{ Width, Height int }

// maxSide is the largest width or height that H.264 level 6.2 allows
// (ITU-T H.264 table A-1), rounded down to a power of two.
const maxSide = 8192

// UnmarshalText parses a resolution. Both sides must be even, as 4:2:0 needs.
func (r *Resolution) UnmarshalText(text []byte) error {
	w, h, ok := strings.Cut(string(text), "x")
	if !ok || !isDigits(w) || !isDigits(h) {
		return fmt.Errorf(`%q is not a picture size, write it like "1920x1080"`, text)
	}
	width, errW := strconv.Atoi(w)
	height, errH := strconv.Atoi(h)
	switch {
	case errW != nil || errH != nil || width > maxSide || height > maxSide || width < 16 || height < 16:
		return fmt.Errorf("%q is out of range, each side has 16 to %d pixels", text, maxSide)
	case width%2 != 0 || height%2 != 0:
		return fmt.Errorf("%q has an odd side, both must be even", text)
	}
	*r = Resolution{width, height}
	return nil
}

// String writes "1920x1080".
func (r Resolution) String() string { return fmt.Sprintf("%dx%d", r.Width, r.Height) }

// MarshalText is String.
func (r Resolution) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func (Resolution) example() string { return `"1920x1080"` }

// TLSMode says where the certificate of the viewer page comes from.
type TLSMode string

// The modes of encryption.
const (
	TLSOff        TLSMode = "off"
	TLSSelfSigned TLSMode = "self-signed" // made on the first start, browsers warn once
	TLSFiles      TLSMode = "files"       // tls_cert and tls_key
)

// UnmarshalText accepts one of the modes.
func (m *TLSMode) UnmarshalText(text []byte) error {
	return choose(m, text, TLSOff, TLSSelfSigned, TLSFiles)
}

func (TLSMode) example() string { return `"self-signed"` }

// SourceKind says where a camera's pictures come from.
type SourceKind string

// The kinds of source.
const (
	SourceTest   SourceKind = "test"   // a moving picture made here
	SourceMPEGTS SourceKind = "mpegts" // MPEG-TS over UDP, passed through
)

// UnmarshalText accepts one of the kinds.
func (k *SourceKind) UnmarshalText(text []byte) error {
	return choose(k, text, SourceTest, SourceMPEGTS)
}

func (SourceKind) example() string { return `"test"` }

// RecordingMode says when a camera is recorded.
type RecordingMode string

// The modes of recording.
const (
	RecordAlways RecordingMode = "always"
	RecordManual RecordingMode = "manual" // between a start and a stop
)

// UnmarshalText accepts one of the modes.
func (m *RecordingMode) UnmarshalText(text []byte) error {
	return choose(m, text, RecordAlways, RecordManual)
}

func (RecordingMode) example() string { return `"always"` }

// LogFormat is how log lines are written.
type LogFormat string

// The log formats.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// UnmarshalText accepts one of the formats.
func (f *LogFormat) UnmarshalText(text []byte) error {
	return choose(f, text, LogText, LogJSON)
}

func (LogFormat) example() string { return `"json"` }

// LogLevel is the least severe level that is logged.
type LogLevel string

// The log levels.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"  // somebody may want to act
	LogError LogLevel = "error" // pictures are at risk
)

// UnmarshalText accepts one of the levels.
func (l *LogLevel) UnmarshalText(text []byte) error {
	return choose(l, text, LogDebug, LogInfo, LogWarn, LogError)
}

// Slog returns the level for log/slog.
func (l LogLevel) Slog() slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l)); err != nil {
		return slog.LevelInfo
	}
	return level
}

func (LogLevel) example() string { return `"info"` }

// choose sets dst to the one of the choices that text is.
func choose[T ~string](dst *T, text []byte, choices ...T) error {
	quoted := make([]string, len(choices))
	for i, c := range choices {
		if string(text) == string(c) {
			*dst = c
			return nil
		}
		quoted[i] = strconv.Quote(string(c))
	}
	return fmt.Errorf("%q is unknown, choose %s", text, orList(quoted))
}
