//go:build !linux

package mpegts

import (
	"net"
	"time"
)

const controlSize = 0

func setOptions(int, bool) error { return nil }

func growBuffer(conn *net.UDPConn, size int) (int, error) {
	return size, conn.SetReadBuffer(size)
}

func parseControl(_ []byte, dropped uint32) (time.Duration, uint32) { return 0, dropped }
