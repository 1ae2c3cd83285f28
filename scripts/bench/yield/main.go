// Command yield measures what a bulk transfer does to a live picture on a slow
// link: offload.sh beside it makes the link, and starts the two ends.
//
// "send" sends 4 Mbit/s of RTP in bursts, 30 a second, through lenscast's own
// sender, and a transfer beside it. "watch" receives the RTP, reports on it and
// takes the time that each packet was under way: the sender's reports map RTP
// timestamps to the wall clock, which both ends share. "report" makes the table
// of what several of them have written.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/lenscast/lenscast/scripts/bench/internal/command"
	"github.com/lenscast/lenscast/transport/filetransfer"
)

func main() { command.Main("yield", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("send, watch or report?")
	}
	switch args[0] {
	case "send":
		return send(ctx, args[1:])
	case "watch":
		return watch(ctx, args[1:])
	case "report":
		return report(args[1:], out)
	default:
		return fmt.Errorf("%q is not send, watch or report", args[0])
	}
}

// sent is what "send" writes.
type sent struct {
	Samples []sample
}

// sample is how much of the transfer had been acknowledged at a time.
type sample struct {
	At    time.Time
	Bytes uint64
	Info  filetransfer.TCPInfo
	Rate  int64  // that the controller allows, bit/s
	Why   string // in its words
}

// seen is what "watch" writes.
type seen struct {
	Start, End time.Time
	Changed    time.Time // when the link changed; zero: it did not
	Packets    []arrival
	Lost       int
	Load       string // of the machine, at the end
}

// arrival is one live packet.
type arrival struct {
	At    time.Time // of arrival
	Delay time.Duration
	Bytes int // of UDP payload
}

func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
