package status

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// exposition is a parser of the text format that accepts only what Prometheus
// does (prometheus.io/docs/instrumenting/exposition_formats). It returns the
// samples and the type of each family.
func exposition(t *testing.T, text string) (samples map[string]float64, types map[string]string) {
	t.Helper()
	line := regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_][a-zA-Z0-9_]*="(\\[\\"n]|[^\\"\n])*"(, ?)?)*\})? (\S+)$`)
	samples, types = make(map[string]float64), make(map[string]string)
	current := ""
	for _, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if rest, ok := strings.CutPrefix(l, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			if types[name] != "" {
				t.Errorf("two TYPE lines for %s", name)
			}
			types[name], current = kind, name
			continue
		}
		if strings.HasPrefix(l, "#") {
			continue
		}
		m := line.FindStringSubmatch(l)
		if m == nil {
			t.Errorf("not a sample: %q", l)
			continue
		}
		value, err := strconv.ParseFloat(m[len(m)-1], 64)
		if err != nil {
			t.Errorf("%q: %v", l, err)
		}
		if _, twice := samples[m[1]+m[2]]; twice {
			t.Errorf("two samples of %s%s", m[1], m[2])
		}
		samples[m[1]+m[2]] = value
		if strings.HasPrefix(m[1], "lenscast_") && m[1] != current {
			t.Errorf("%s does not follow its TYPE line", m[1])
		}
	}
	return samples, types
}

func TestMetrics(t *testing.T) {
	r := sample()
	r.Version = "odd \"\\\nversion"
	var b bytes.Buffer
	r.WriteMetrics(&b)
	samples, types := exposition(t, b.String())
	for name, want := range map[string]float64{
		`lenscast_build_info{version="odd \"\\\nversion"}`:                  1,
		`lenscast_uptime_seconds`:                                           3600,
		`lenscast_viewers`:                                                  1,
		`lenscast_camera_live{camera="hero"}`:                               1,
		`lenscast_camera_live{camera="back"}`:                               0,
		`lenscast_camera_pictures_total{camera="hero"}`:                     1800,
		`lenscast_camera_frames_per_second{camera="hero"}`:                  29.97,
		`lenscast_viewer_packets_resent_total{camera="hero",viewer="a1"}`:   3,
		`lenscast_viewer_dropped_pictures_total{camera="hero",viewer="a1"}`: 4,
	} {
		if got, ok := samples[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for name, kind := range types {
		if strings.HasSuffix(name, "_total") != (kind == "counter") {
			t.Errorf("%s is a %s", name, kind)
		}
	}
	if samples["process_resident_memory_bytes"] == 0 {
		t.Error("the metrics of the process are missing")
	}
}

// TestMetricsWithPromtool asks Prometheus's own tool.
func TestMetricsWithPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian: prometheus)")
	}
	var b bytes.Buffer
	sample().WriteMetrics(&b)
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin, cmd.Stderr = &b, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
}
