package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	ethernet = 14 // bytes of a packet that tbf counts and UDP or TCP do not
	ipUDP    = 28
	segment  = 1448 // content of a full TCP segment with timestamps
	ipTCP    = 52
	goal     = 15 * time.Millisecond
	goalUsed = 0.6
	aroundIt = 2 * time.Second
)

// figures are what one run, or a part of it, came to.
type figures struct {
	p50, p95, p99 time.Duration
	lost          int
	packets       int
	bulk          float64 // bit/s
	used          float64 // of what the live packets leave
}

// report prints a table of the files LINK.BULK.ROUND.{seen,sent}.json in a
// folder. The link is its rate in Mbit/s, or two rates: "20-5".
func report(args []string, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("report wants a folder")
	}
	paths, err := filepath.Glob(filepath.Join(args[0], "*.seen.json"))
	if err != nil {
		return err
	}
	runs := make(map[string]map[string][]figures) // by link and part, and bulk
	var links, loads []string
	for _, path := range paths {
		name := strings.Split(filepath.Base(path), ".")
		link, bulk := name[0], name[1]
		var watched seen
		var transfer sent
		if err := readJSON(path, &watched); err != nil {
			return err
		}
		if err := readJSON(strings.TrimSuffix(path, "seen.json")+"sent.json", &transfer); err != nil {
			return err
		}
		parts, err := split(link, watched, transfer)
		if err != nil {
			return err
		}
		for _, p := range parts {
			if runs[p.name] == nil {
				runs[p.name] = make(map[string][]figures)
				links = append(links, p.name)
			}
			runs[p.name][bulk] = append(runs[p.name][bulk], p.figures)
		}
		loads = append(loads, watched.Load)
	}
	for _, link := range links {
		fmt.Fprintf(out, "\n%s\n%-22s %7s %7s %7s %6s %8s %6s  %s\n", link, "bulk", "p50 ms", "p95 ms", "p99 ms", "lost", "Mbit/s", "used", "goal")
		none := middle(runs[link]["none"])
		for _, bulk := range sortedKeys(runs[link]) {
			f := middle(runs[link][bulk])
			verdict := ""
			if bulk != "none" {
				verdict = judge(f, none)
			}
			fmt.Fprintf(out, "%-22s %7.1f %7.1f %7.1f %6d %8.2f %5.0f%%  %s\n", bulk, ms(f.p50), ms(f.p95), ms(f.p99), f.lost, f.bulk/1e6, 100*f.used, verdict)
		}
	}
	slices.Sort(loads)
	fmt.Fprintf(out, "\nmedians of %d runs in all; load of the machine over 1 and 5 min: %s to %s\n", len(paths), loads[0], loads[len(loads)-1])
	return nil
}

// part is a stretch of a run.
type part struct {
	name string
	figures
}

func split(link string, s seen, t sent) ([]part, error) {
	var rates []float64
	for text := range strings.SplitSeq(link, "-") {
		rate, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("link %q: %w", link, err)
		}
		rates = append(rates, rate*1e6)
	}
	if len(rates) == 1 {
		return []part{{link + " Mbit/s", measure(s, t, s.Start, s.End, rates[0])}}, nil
	}
	if s.Changed.IsZero() {
		return nil, fmt.Errorf("link %s has not changed", link)
	}
	before, after := s.Changed.Sub(s.Start).Seconds(), s.End.Sub(s.Changed).Seconds()
	mean := (rates[0]*before + rates[1]*after) / (before + after)
	name := fmt.Sprintf("%g, then %g Mbit/s: ", rates[0]/1e6, rates[1]/1e6)
	around := s.Changed.Add(aroundIt)
	return []part{
		{name + "the whole run", measure(s, t, s.Start, s.End, mean)},
		{name + "before", measure(s, t, s.Start, s.Changed, rates[0])},
		{name + "the 2 s from the step on", measure(s, t, s.Changed, around, rates[1])},
		{name + "after them", measure(s, t, around, s.End, rates[1])},
	}, nil
}

// measure computes the figures of [from, to).
func measure(s seen, t sent, from, to time.Time, rate float64) figures {
	f := figures{lost: s.Lost}
	var delays []time.Duration
	var live float64 // bits on the link
	for _, p := range s.Packets {
		if p.At.Before(from) || !p.At.Before(to) {
			continue
		}
		delays = append(delays, p.Delay)
		live += float64(p.Bytes+ipUDP+ethernet) * 8
	}
	if len(delays) == 0 {
		return f
	}
	slices.Sort(delays)
	at := func(q float64) time.Duration { return delays[int(q*float64(len(delays)-1))] }
	f.p50, f.p95, f.p99, f.packets = at(0.5), at(0.95), at(0.99), len(delays)
	seconds := to.Sub(from).Seconds()
	f.bulk = float64(bytesBetween(t.Samples, from, to)) * 8 / seconds
	spare := (rate - live/seconds) * segment / (segment + ipTCP + ethernet)
	f.used = f.bulk / spare
	return f
}

// bytesBetween adds up the growth of a counter that begins again with every
// connection.
func bytesBetween(samples []sample, from, to time.Time) (n uint64) {
	var last *sample
	for i, s := range samples {
		if s.At.Before(from) || s.At.After(to) {
			continue
		}
		switch {
		case last == nil:
		case s.Bytes >= last.Bytes:
			n += s.Bytes - last.Bytes
		default:
			n += s.Bytes
		}
		last = &samples[i]
	}
	return n
}

func judge(f, none figures) string {
	var missed []string
	if f.p99 > none.p99+goal {
		missed = append(missed, "delay")
	}
	if f.lost > 0 {
		missed = append(missed, "loss")
	}
	if f.used < goalUsed {
		missed = append(missed, "use")
	}
	if len(missed) == 0 {
		return "met"
	}
	return "missed: " + strings.Join(missed, ", ")
}

// middle takes the median of each figure.
func middle(list []figures) figures {
	if len(list) == 0 {
		return figures{}
	}
	return figures{
		p50:  median(list, func(f figures) time.Duration { return f.p50 }),
		p95:  median(list, func(f figures) time.Duration { return f.p95 }),
		p99:  median(list, func(f figures) time.Duration { return f.p99 }),
		lost: median(list, func(f figures) int { return f.lost }),
		bulk: median(list, func(f figures) float64 { return f.bulk }),
		used: median(list, func(f figures) float64 { return f.used }),
	}
}

func median[T int | float64 | time.Duration](list []figures, get func(figures) T) T {
	var values []T
	for _, f := range list {
		values = append(values, get(f))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func sortedKeys(m map[string][]figures) []string {
	order := []string{"none", "lenscast"}
	var rest []string
	for k := range m {
		if !slices.Contains(order, k) {
			rest = append(rest, k)
		}
	}
	slices.Sort(rest)
	return slices.DeleteFunc(append(order, rest...), func(k string) bool { return m[k] == nil })
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
