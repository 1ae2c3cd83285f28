package archive

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/lenscast/lenscast/agent/wallclock"
)

// Info describes a recording. It is what the file with the recording's name
// and the ending .json holds.
type Info struct {
	// ID is the name of the recording below the directory, without its
	// ending: "hero/2026-11-22/hero_20261122T143000Z".
	ID     string `json:"id"`
	Camera string `json:"camera"`
	// Sequence numbers the recordings of a directory in the order in which
	// they began. It never goes back.
	Sequence uint64 `json:"sequence"`

	// Start and End are the times of the first picture and of the end of
	// the last one.
	Start Moment `json:"start"`
	End   Moment `json:"end"`
	// BootID tells which boot of the machine Moment.Boot counts from.
	BootID string `json:"boot_id"`
	// WallTrusted says that Moment.Wall goes by a clock that was set by NTP.
	WallTrusted bool `json:"wall_trusted"`

	// Duration is the media time from Start to End, by the capture clock.
	Duration Seconds `json:"duration_seconds"`
	Pictures int     `json:"pictures"`
	Width    int     `json:"width"`
	Height   int     `json:"height"`
	Profile  string  `json:"profile"`
	// Audio is the sound, nil when there is none.
	Audio *Audio `json:"audio,omitempty"`
	// Gaps are where pictures are missing; the one before it stands still.
	// At most 1000 are listed.
	Gaps []Gap `json:"gaps,omitempty"`

	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // of the whole file, in hex
	// Repaired says that the recording was cut off by a power cut or the
	// like, and ends with the last part that was on the disk.
	Repaired bool `json:"repaired,omitempty"`
	// Offloaded is set once another place has confirmed that it has it.
	Offloaded *Offloaded `json:"offloaded,omitempty"`
	// OffloadDropped says that somebody decided that it is not to be sent.
	OffloadDropped bool `json:"offload_dropped,omitempty"`

	// Running says that it is being recorded now: there is no file of that
	// name yet. Never stored.
	Running bool `json:"running,omitempty"`
}

// Audio describes the sound of a recording.
type Audio struct {
	Codec      string `json:"codec"`       // by RFC 6381: "mp4a.40.2", AAC LC
	SampleRate int    `json:"sample_rate"` // Hz
	Channels   int    `json:"channels"`
	// Duration is how much sound there is, without gaps, but with the
	// silence that is put where a little is missing.
	Duration Seconds `json:"duration_seconds"`
	// Dropped counts frames that came but found no place: because of
	// another format, times that go back, or a disk that is too slow.
	Dropped int `json:"dropped,omitempty"`
}

// Moment is a time, told by two clocks.
type Moment struct {
	// Wall is the time of day, which may be wrong; see Info.WallTrusted.
	Wall time.Time `json:"wall"`
	// Boot is the time since the machine was started.
	Boot Seconds `json:"boot_seconds"`
}

// Gap is a time without pictures.
type Gap struct {
	At       Seconds `json:"at_seconds"` // since the start of the recording
	Duration Seconds `json:"seconds"`
	Reason   string  `json:"reason"`
}

// maxGaps bounds Info.Gaps.
const maxGaps = 1000

// Offloaded tells where a copy of a recording is.
type Offloaded struct {
	To     string    `json:"to"`     // the server
	Name   string    `json:"name"`   // what it is called there
	SHA256 string    `json:"sha256"` // of what is there, in hex
	At     time.Time `json:"at"`
}

// Unsent tells whether a recording is finished and still to be offloaded.
func (i *Info) Unsent() bool { return !i.Running && i.Offloaded == nil && !i.OffloadDropped }

// Seconds is a duration that JSON shows in seconds, exact to the microsecond.
type Seconds time.Duration

// MarshalJSON implements json.Marshaler.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, math.Round(float64(s)/1e3)/1e6, 'f', -1, 64), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	if math.Abs(f) > math.MaxInt64/1e9 {
		return fmt.Errorf("%s seconds are out of range", b)
	}
	*s = Seconds(math.Round(f * 1e9))
	return nil
}

// moment returns the moment of the given boot time, by a clock that reads r.
func moment(r wallclock.Reading, boot time.Duration) Moment {
	return Moment{Wall: r.Wall.Add(boot - r.Boot).UTC().Truncate(time.Millisecond), Boot: Seconds(boot)}
}

// tell sets start, end and the trust in them from a clock reading. The first
// reading that is trusted stays; of those that are not, the first.
func (i *Info) tell(r wallclock.Reading, boot time.Duration) {
	if !i.Start.Wall.IsZero() && (i.WallTrusted || !r.Trusted || r.BootID != i.BootID) {
		return
	}
	i.Start, i.WallTrusted, i.BootID = moment(r, boot), r.Trusted, r.BootID
}

// lasts sets the duration and with it the end.
func (i *Info) lasts(d time.Duration) {
	i.Duration = Seconds(d)
	i.End = Moment{Wall: i.Start.Wall.Add(d).Truncate(time.Millisecond), Boot: i.Start.Boot + Seconds(d)}
}
