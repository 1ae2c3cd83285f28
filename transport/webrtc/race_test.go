//go:build race

package webrtc_test

// The race detector makes viewers some ten times as expensive.
const loadDivisor = 4
