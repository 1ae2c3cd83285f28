package main

import "testing"

func TestTotalMemory(t *testing.T) {
	for _, tt := range []struct {
		meminfo string
		want    int64
	}{
		{"MemTotal:         437880 kB\nMemFree:           31020 kB\n", 437880 << 10}, // a Pi Zero 2 W
		{"MemFree: 12 kB\nMemTotal: 8 kB\n", 8 << 10},
		{"", 0},
		{"MemTotal: -8 kB\n", 0},
		{"MemTotal: many kB\n", 0},
		{"MemTotal: 9223372036854775807 kB\n", 0},
	} {
		if got := totalMemory(tt.meminfo); got != tt.want {
			t.Errorf("%q: got %d, want %d", tt.meminfo, got, tt.want)
		}
	}
}
