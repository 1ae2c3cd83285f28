package webrtc

import (
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"
)

const (
	// clockLabel names the data channel on which a page compares clocks.
	clockLabel = "clock"

	// maxClockMessage bounds what a page may send, maxClockBuffered what may
	// wait to be sent to it.
	maxClockMessage  = 256
	maxClockBuffered = 16 << 10
)

// clockChannel answers a page's questions about this end's clock, and tells
// it when pictures were captured, so that it can compute the latency from
// capture to display. Messages are JSON:
//
//	page to agent: {"type":"ping","t":1.5}
//	agent to page: {"type":"pong","t":1.5,"now":1700000000000.25}
//	agent to page: {"type":"sync","rtp":123456,"captured":1700000000000.25}
//
// t is any number, now and captured are Unix times in ms, rtp is the RTP
// timestamp of the picture captured then.
type clockChannel struct {
	channel atomic.Pointer[webrtc.DataChannel] // nil until it is open
	synced  bool                               // the page was told once
}

type pingMessage struct {
	Type string      `json:"type"`
	T    json.Number `json:"t"`
}

type pongMessage struct {
	Type string      `json:"type"`
	T    json.Number `json:"t"`
	Now  float64     `json:"now"`
}

type syncMessage struct {
	Type     string  `json:"type"`
	RTP      uint32  `json:"rtp"`
	Captured float64 `json:"captured"`
}

// attach takes a data channel that the page has opened. Only the clock is
// served; anything else is closed.
func (c *clockChannel) attach(dc *webrtc.DataChannel) {
	if dc.Label() != clockLabel {
		_ = dc.Close()
		return
	}
	dc.OnOpen(func() { c.channel.Store(dc) })
	dc.OnMessage(func(m webrtc.DataChannelMessage) {
		now := time.Now()
		var ping pingMessage
		if len(m.Data) > maxClockMessage || json.Unmarshal(m.Data, &ping) != nil ||
			ping.Type != "ping" || ping.T == "" {
			return
		}
		send(dc, pongMessage{"pong", ping.T, unixMilliseconds(now)})
	})
}

// sync tells the page when a picture was captured: when it is due, and as soon
// as the channel is open. It is called by one goroutine.
func (c *clockChannel) sync(timestamp uint32, captured time.Time, due bool) {
	dc := c.channel.Load()
	if dc == nil || captured.IsZero() || !due && c.synced {
		return
	}
	send(dc, syncMessage{"sync", timestamp, unixMilliseconds(captured)})
	c.synced = true
}

// send sends a message unless the page has stopped reading.
func send(dc *webrtc.DataChannel, message any) {
	if dc.BufferedAmount() > maxClockBuffered {
		return
	}
	text, err := json.Marshal(message)
	if err != nil {
		return
	}
	_ = dc.SendText(string(text)) // the channel may just have closed
}

func unixMilliseconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1000 }
