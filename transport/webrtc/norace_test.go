//go:build !race

package webrtc_test

// loadDivisor makes the tests of many viewers smaller.
const loadDivisor = 1
