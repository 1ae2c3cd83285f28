package status

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 250e6, time.FixedZone("CET", 3600))

// sample has every field set.
func sample() *Report {
	return &Report{
		Version: "1.2.3", Started: Time{now.Add(-time.Hour)}, Uptime: 3600, Now: Time{now},
		Cameras: []Camera{
			{
				Name: "hero", Source: "mpegts", State: Live, Since: Time{now.Add(-time.Minute)}, Mode: "passthrough",
				Detail: "udp://:8554", Width: 1920, Height: 1080, Profile: "High", FPS: 29.97, Bitrate: 6.1e6, GOP: 1.001, Asked: 4e6, Told: 2e6, Reduced: "reduced to 2.0 Mbit/s by a viewer",
				Pictures: 1800, Keyframes: 60, Restarts: 1, Lost: 2, Skipped: 5, Viewers: 1, LastPicture: Time{now.Add(-20 * time.Millisecond)},
				Recording: "recording",
			},
			{Name: "back", Source: "mpegts", State: "no signal", Reason: "nothing arrives", Since: Time{now.Add(-time.Hour)}},
		},
		Viewers: []Viewer{{
			ID: "a1", Camera: "hero", Remote: "192.0.2.9:5000", Transport: "udp", State: "live", Since: 12.5, Bitrate: 6e6,
			PacketsSent: 1000, PacketsResent: 3, NACKs: 3, PLIs: 1, DroppedPictures: 4, RTT: 0.012, Loss: 0.003, Affordable: 2e6, Note: "pictures are left out",
		}},
		Pushes: []Push{{
			Camera: "hero", Destination: "srt://media.example.org:9000", State: "waiting", Since: Time{now}, Reason: "nobody listens there",
			Failures: 3, Receivers: 1, Bitrate: 6e6, PacketsSent: 2000, DroppedPictures: 5, LastPicture: Time{now}, RTT: 0.02, Loss: 0.01, Affordable: 2e6, Note: "pictures are left out",
		}},
		Problems: []string{},
	}
}

func TestJSON(t *testing.T) {
	data, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"started":"2026-03-01T10:00:00.250Z"`, `"time":"2026-03-01T11:00:00.250Z"`, `"uptime_seconds":3600`,
		`"gop_seconds":1.001`, `"last_picture":null`, `"problems":[]`, `"rtt_seconds":0.012`, `"packets_resent":3`,
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("no %s in %s", want, data)
		}
	}
	var keys map[string]any
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	// The page and scripts rely on these names.
	camera := keys["cameras"].([]any)[0].(map[string]any)
	for _, key := range strings.Fields("name source state reason since mode detail width height profile fps bitrate gop_seconds pictures keyframes restarts lost skipped viewers last_picture recording") {
		if _, ok := camera[key]; !ok {
			t.Errorf("cameras have no %s", key)
		}
	}
	viewer := keys["viewers"].([]any)[0].(map[string]any)
	for _, key := range strings.Fields("id camera remote transport state since_seconds bitrate packets_sent packets_resent nacks plis dropped_pictures rtt_seconds loss") {
		if _, ok := viewer[key]; !ok {
			t.Errorf("viewers have no %s", key)
		}
	}
}

func TestHealth(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Camera)
		want   string // in the error, empty for healthy
	}{
		"live":                      {func(*Camera) {}, ""},
		"live and stalled":          {func(c *Camera) { c.LastPicture = Time{now.Add(-11 * time.Second)} }, "hero"},
		"live since a moment ago":   {func(c *Camera) { c.LastPicture, c.Since = Time{}, Time{now.Add(-time.Second)} }, ""},
		"waiting for a known cause": {func(c *Camera) { c.State, c.LastPicture = "unplugged", Time{now.Add(-time.Hour)} }, ""},
		"stuck":                     {func(c *Camera) { c.State, c.Stuck = "failed", true }, "hero"},
	} {
		r := sample()
		test.change(&r.Cameras[0])
		err := r.Health()
		if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestSummary(t *testing.T) {
	r := sample()
	if got, want := r.Summary(), "1 of 2 cameras live, 1 viewer"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	r.Problems = []string{"first", "second"}
	if got, want := r.Summary(), "1 of 2 cameras live, 1 viewer; first"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestSampleIsFull keeps the sample, and so the tests, complete.
func TestSampleIsFull(t *testing.T) {
	r := sample()
	for _, v := range []any{r.Cameras[0], r.Viewers[0]} {
		value := reflect.ValueOf(v)
		for i := range value.NumField() {
			if f := value.Type().Field(i); value.Field(i).IsZero() && f.Name != "Reason" && f.Name != "Stuck" {
				t.Errorf("%T.%s is not set", v, f.Name)
			}
		}
	}
}
