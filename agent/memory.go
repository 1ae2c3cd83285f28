package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// collectAt and collectSmall are how much garbage there may be, in
	// percent of what is in use, before it is collected: in general, and on
	// boards of smallBoard bytes of memory or less. Go's default is 100.
	// With one camera of 8 Mbit/s, a viewer and a recording, 100 took 26.2
	// MiB, 50 took 24.4 and 25 took 23.4 (scripts/bench/memory.sh). What that
	// costs in CPU was lost in the noise: 2 to 3.5 % of a core in all cases.
	collectAt    = 50
	collectSmall = 25
	smallBoard   = 1 << 30
)

// saveMemory makes the garbage collector run as often as the machine's memory
// wants it to, unless GOGC says how often.
func saveMemory() {
	if os.Getenv("GOGC") != "" {
		return
	}
	raw, err := os.ReadFile("/proc/meminfo")
	percent := collectAt
	if total := totalMemory(string(raw)); err == nil && total > 0 && total <= smallBoard {
		percent = collectSmall
	}
	debug.SetGCPercent(percent)
}

// totalMemory returns the bytes of memory that /proc/meminfo tells, see
// proc_meminfo(5); 0 when it tells none.
func totalMemory(meminfo string) int64 {
	for line := range strings.Lines(meminfo) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil || kib < 0 || kib > 1<<50 {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}
