package status

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/VictoriaMetrics/metrics"
)

// metric is one metric family. Counters end in _total, and units are base
// units (prometheus.io/docs/practices/naming).
type metric struct {
	name, kind, help string
}

// cameraMetrics all have the label camera.
func cameraMetrics() []of[Camera] {
	return []of[Camera]{
		{metric{"lenscast_camera_live", "gauge", "1 while pictures come, 0 while they do not"}, func(c *Camera) float64 {
			if c.State == Live {
				return 1
			}
			return 0
		}},
		{metric{"lenscast_camera_recording", "gauge", "1 while it is recorded, 0 while it is not"}, func(c *Camera) float64 {
			if c.Recording == Recording {
				return 1
			}
			return 0
		}},
		{metric{"lenscast_camera_width_pixels", "gauge", "Width of the picture"}, func(c *Camera) float64 { return float64(c.Width) }},
		{metric{"lenscast_camera_height_pixels", "gauge", "Height of the picture"}, func(c *Camera) float64 { return float64(c.Height) }},
		{metric{"lenscast_camera_frames_per_second", "gauge", "Pictures per second over the last seconds"}, func(c *Camera) float64 { return c.FPS }},
		{metric{"lenscast_camera_bits_per_second", "gauge", "Bitrate over the last seconds"}, func(c *Camera) float64 { return c.Bitrate }},
		{metric{"lenscast_camera_asked_bits_per_second", "gauge", "Bitrate that was asked for, 0 when the camera can't follow the network"}, func(c *Camera) float64 { return c.Asked }},
		{metric{"lenscast_camera_target_bits_per_second", "gauge", "Bitrate that the encoder is to make, as readers afford"}, func(c *Camera) float64 { return c.Told }},
		{metric{"lenscast_camera_gop_seconds", "gauge", "Time between the last two keyframes"}, func(c *Camera) float64 { return c.GOP }},
		{metric{"lenscast_camera_viewers", "gauge", "Viewers of this camera"}, func(c *Camera) float64 { return float64(c.Viewers) }},
		{metric{"lenscast_camera_pictures_total", "counter", "Pictures received"}, func(c *Camera) float64 { return float64(c.Pictures) }},
		{metric{"lenscast_camera_keyframes_total", "counter", "Keyframes among them"}, func(c *Camera) float64 { return float64(c.Keyframes) }},
		{metric{"lenscast_camera_restarts_total", "counter", "Restarts of the source"}, func(c *Camera) float64 { return float64(c.Restarts) }},
		{metric{"lenscast_camera_losses_total", "counter", "Times that pictures were lost before they got here"}, func(c *Camera) float64 { return float64(c.Lost) }},
		{metric{"lenscast_camera_skipped_pictures_total", "counter", "Pictures left out because this machine was too slow"}, func(c *Camera) float64 { return float64(c.Skipped) }},
	}
}

// viewerMetrics all have the labels camera and viewer.
func viewerMetrics() []of[Viewer] {
	return []of[Viewer]{
		{metric{"lenscast_viewer_bits_per_second", "gauge", "Bitrate over the last second"}, func(v *Viewer) float64 { return v.Bitrate }},
		{metric{"lenscast_viewer_rtt_seconds", "gauge", "Round-trip time, 0 when unknown"}, func(v *Viewer) float64 { return v.RTT }},
		{metric{"lenscast_viewer_loss_ratio", "gauge", "Share of packets lost, 0 to 1"}, func(v *Viewer) float64 { return v.Loss }},
		{metric{"lenscast_viewer_affordable_bits_per_second", "gauge", "Bitrate that the way there carries, 0 while it was never full"}, func(v *Viewer) float64 { return v.Affordable }},
		{metric{"lenscast_viewer_packets_sent_total", "counter", "RTP packets sent, resent ones not counted"}, func(v *Viewer) float64 { return float64(v.PacketsSent) }},
		{metric{"lenscast_viewer_packets_resent_total", "counter", "RTP packets sent again"}, func(v *Viewer) float64 { return float64(v.PacketsResent) }},
		{metric{"lenscast_viewer_nacks_total", "counter", "Packets that the viewer asked for again"}, func(v *Viewer) float64 { return float64(v.NACKs) }},
		{metric{"lenscast_viewer_plis_total", "counter", "Keyframes that the viewer asked for"}, func(v *Viewer) float64 { return float64(v.PLIs) }},
		{metric{"lenscast_viewer_dropped_pictures_total", "counter", "Pictures dropped because the viewer was too slow"}, func(v *Viewer) float64 { return float64(v.DroppedPictures) }},
	}
}

// pushMetrics all have the labels camera and destination.
func pushMetrics() []of[Push] {
	return []of[Push]{
		{metric{"lenscast_push_sending", "gauge", "1 while pictures go out, 0 while they do not"}, func(p *Push) float64 {
			if p.State == Sending {
				return 1
			}
			return 0
		}},
		{metric{"lenscast_push_ice_restarts_total", "counter", "Restarts of ICE, 0 but for WHIP"}, func(p *Push) float64 {
			if p.ICE == nil {
				return 0
			}
			return float64(p.ICE.Restarts)
		}},
		{metric{"lenscast_push_receivers", "gauge", "Receivers that get the stream now"}, func(p *Push) float64 { return float64(p.Receivers) }},
		{metric{"lenscast_push_bits_per_second", "gauge", "Bitrate over the last second"}, func(p *Push) float64 { return p.Bitrate }},
		{metric{"lenscast_push_rtt_seconds", "gauge", "Round-trip time, 0 when unknown"}, func(p *Push) float64 { return p.RTT }},
		{metric{"lenscast_push_loss_ratio", "gauge", "Share of packets lost, 0 to 1"}, func(p *Push) float64 { return p.Loss }},
		{metric{"lenscast_push_affordable_bits_per_second", "gauge", "Bitrate that the way there carries, 0 while it was never full"}, func(p *Push) float64 { return p.Affordable }},
		{metric{"lenscast_push_failures_total", "counter", "Attempts and connections that failed"}, func(p *Push) float64 { return float64(p.Failures) }},
		{metric{"lenscast_push_packets_sent_total", "counter", "Packets sent"}, func(p *Push) float64 { return float64(p.PacketsSent) }},
		{metric{"lenscast_push_dropped_pictures_total", "counter", "Pictures that could not be sent in time"}, func(p *Push) float64 { return float64(p.DroppedPictures) }},
	}
}

// offloadMetrics have no labels: there is one queue at most.
func offloadMetrics() []of[Offload] {
	return []of[Offload]{
		{metric{"lenscast_offload_waiting_recordings", "gauge", "Recordings that are still to be sent"}, func(o *Offload) float64 { return float64(o.Waiting) }},
		{metric{"lenscast_offload_waiting_bytes", "gauge", "Bytes of them still to be sent"}, func(o *Offload) float64 { return float64(o.Bytes) }},
		{metric{"lenscast_offload_failed_recordings", "gauge", "Recordings of them that somebody has to look after"}, func(o *Offload) float64 { return float64(o.Failed) }},
		{metric{"lenscast_offload_sending", "gauge", "1 while a recording is sent, 0 while none is"}, func(o *Offload) float64 {
			if o.Recording != "" {
				return 1
			}
			return 0
		}},
		{metric{"lenscast_offload_bits_per_second", "gauge", "Rate over the last seconds"}, func(o *Offload) float64 { return o.Bitrate }},
		{metric{"lenscast_offload_allowed_bits_per_second", "gauge", "Rate allowed beside the live picture, 0 for any"}, func(o *Offload) float64 { return o.AllowedRate }},
		{metric{"lenscast_offload_last_success_timestamp_seconds", "gauge", "When a recording was confirmed last, 0 before the first"}, func(o *Offload) float64 {
			if o.LastSuccess.IsZero() {
				return 0
			}
			return float64(o.LastSuccess.UnixMilli()) / 1000
		}},
		{metric{"lenscast_offload_recordings_total", "counter", "Recordings that a server has confirmed"}, func(o *Offload) float64 { return float64(o.Recordings) }},
		{metric{"lenscast_offload_bytes_total", "counter", "Bytes of them"}, func(o *Offload) float64 { return float64(o.BytesSent) }},
	}
}

// of is a metric of each T.
type of[T any] struct {
	metric
	value func(*T) float64
}

// WriteMetrics writes the report in the Prometheus text format, version 0.0.4,
// followed by the metrics of the process and of the Go runtime.
func (r *Report) WriteMetrics(w io.Writer) {
	var b strings.Builder
	write := func(m metric, value float64, labels ...string) {
		m.header(&b)
		m.sample(&b, value, labels...)
	}
	write(metric{"lenscast_build_info", "gauge", "Always 1, the label tells the version"}, 1, "version", r.Version)
	write(metric{"lenscast_uptime_seconds", "gauge", "Time since the start"}, r.Uptime)
	write(metric{"lenscast_viewers", "gauge", "Viewers of all cameras"}, float64(len(r.Viewers)))
	write(metric{"lenscast_problems", "gauge", "Problems that somebody should look after"}, float64(len(r.Problems)))
	writeEach(&b, cameraMetrics(), r.Cameras, func(c *Camera) []string { return []string{"camera", c.Name} })
	writeEach(&b, viewerMetrics(), r.Viewers, func(v *Viewer) []string { return []string{"camera", v.Camera, "viewer", v.ID} })
	writeEach(&b, pushMetrics(), r.Pushes, func(p *Push) []string { return []string{"camera", p.Camera, "destination", p.Destination} })
	if r.Offload != nil {
		writeEach(&b, offloadMetrics(), []Offload{*r.Offload}, func(*Offload) []string { return nil })
	}
	_, _ = io.WriteString(w, b.String()) // whoever asked may have gone
	metrics.WriteProcessMetrics(w)
}

func writeEach[T any](b *strings.Builder, table []of[T], items []T, labels func(*T) []string) {
	if len(items) == 0 {
		return
	}
	for _, m := range table {
		m.header(b)
		for i := range items {
			m.sample(b, m.value(&items[i]), labels(&items[i])...)
		}
	}
}

func (m metric) header(b *strings.Builder) {
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, m.kind)
}

// sample writes one line; labels are names and values in turn.
func (m metric) sample(b *strings.Builder, value float64, labels ...string) {
	b.WriteString(m.name)
	for i := 0; i < len(labels); i += 2 {
		b.WriteByte("{,"[min(i, 1)])
		fmt.Fprintf(b, `%s="%s"`, labels[i], labelEscaper.Replace(labels[i+1]))
	}
	if len(labels) > 0 {
		b.WriteByte('}')
	}
	b.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
}

// labelEscaper escapes label values (Prometheus exposition formats).
var labelEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
