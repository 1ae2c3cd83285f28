// Command push compares what the UDP senders of lenscast cost with ffmpeg's
// (-c copy), on the same stream, one after the other in the same run.
//
//	go run ./scripts/bench/push -seconds 20
//
// Everything stays on loopback. It needs ffmpeg.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "push:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("push", flag.ContinueOnError)
	seconds := flags.Int("seconds", 20, "length of each measurement")
	clip := flags.String("send", "", "used by push itself to start a sender of this clip")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *clip != "" {
		return send(ctx, *clip, flags.Args())
	}
	dir, err := os.MkdirTemp("", "push")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	return compare(ctx, out, dir, time.Duration(*seconds)*time.Second)
}
