// Command push compares what the UDP senders of lenscast cost with ffmpeg's
// (-c copy), by turns in the same run. Both do the same work: they take an MPEG
// transport stream over UDP, and send its pictures on.
//
//	go run ./scripts/bench/push -rounds 5 -seconds 10 -mbit 8,30,60 -destinations 1,8
//
// With one destination most of the time goes into being woken, and into taking
// the pictures in: without any push lenscast took 0.8 of what it takes with one.
// A program in Go that does nothing but read the datagrams and send them on,
// without looking into them, in one goroutine, took 0.45 of what ffmpeg took,
// and one in C 0.3. The more bits there are to a picture the less that counts.
//
// Everything stays on loopback. It needs ffmpeg.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/lenscast/lenscast/scripts/bench/internal/command"
	"github.com/lenscast/lenscast/scripts/bench/internal/peer"
)

func main() { command.Main("push", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("push", flag.ContinueOnError)
	seconds := flags.Int("seconds", 10, "length of each measurement")
	rounds := flags.Int("rounds", 5, "how often to measure each sender; the median counts")
	mbits, destinations := numbers{8}, numbers{1, 8}
	flags.Var(&mbits, "mbit", "bitrates of the clip in Mbit/s, separated by commas")
	flags.Var(&destinations, "destinations", "how many at the same time, separated by commas")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *seconds < 1 || *rounds < 1 {
		return errors.New("-seconds and -rounds must be at least 1")
	}
	dir, err := os.MkdirTemp("", "push")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b := bench{
		clip: filepath.Join(dir, "clip.ts"), destinations: destinations,
		duration: time.Duration(*seconds) * time.Second, rounds: *rounds,
	}
	if b.lenscast, err = peer.Build(ctx, dir); err != nil {
		return err
	}
	fmt.Fprintf(out, "%6s %-4s %12s %-9s %8s %12s %12s  %s\n",
		"clip", "form", "destinations", "sender", "Mbit/s", "ms CPU/Mbit", "switches/s", "share")
	for _, b.mbit = range mbits {
		err = peer.Encode(ctx, b.clip, peer.Clip{
			Source: "testsrc2=size=1920x1080:rate=60", FPS: 60, Seconds: 10, GOP: 60, Rate: []string{"-b:v", fmt.Sprintf("%dM", b.mbit)},
		})
		if err != nil {
			return err
		}
		if err := b.compare(ctx, out); err != nil {
			return err
		}
	}
	return nil
}

// numbers is a flag of whole numbers above 0, separated by commas.
type numbers []int

// String implements flag.Value.
func (n *numbers) String() string {
	var words []string
	for _, v := range *n {
		words = append(words, strconv.Itoa(v))
	}
	return strings.Join(words, ",")
}

// Set implements flag.Value.
func (n *numbers) Set(s string) error {
	*n = nil
	for word := range strings.SplitSeq(s, ",") {
		v, err := strconv.Atoi(word)
		if err != nil || v < 1 {
			return fmt.Errorf("%q is no number above 0", word)
		}
		*n = append(*n, v)
	}
	return nil
}
