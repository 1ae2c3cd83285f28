// Command lenscast shows the H.264 of cameras in any browser.
//
// It is one binary with one TOML file; see "lenscast help" and the folder
// configs. Every sub-command has a file of its own in this folder and a line
// in [commands].
//
// Exit codes: 0 done, 1 failed, 2 wrong use or configuration, 3 done in part.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/lenscast/lenscast/agent/config"
)

// The exit codes, a contract with scripts and systemd.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // wrong use or configuration
	exitPart   = 3 // done in part
)

// command is one sub-command.
type command struct {
	name    string
	args    string // after the name, for help: "[FILE]"
	summary string // one line
	help    string // in words, after the summary
	run     func(ctx context.Context, std streams, args []string) error
}

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// commands is the table of sub-commands, in the order of help.
func commands() []command {
	return []command{
		runCommand(),
		checkCommand(),
		sendCommand(),
		receiveCommand(),
		recordingsCommand(),
		queueCommand(),
		versionCommand(),
		helpCommand(),
	}
}

func main() {
	os.Exit(run(context.Background(), streams{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:]))
}

// run does what the arguments say and returns the exit code. Messages are
// lower case, without a full stop, and say what to do next.
func run(ctx context.Context, std streams, args []string) int {
	err := dispatch(ctx, std, args)
	var coded *exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &coded):
		if coded.err != nil {
			fmt.Fprintln(std.err, "lenscast:", advised(coded.err))
		}
		return coded.code
	default:
		fmt.Fprintln(std.err, "lenscast:", advised(err))
		return exitFailed
	}
}

// exitError is an error with an exit code other than exitFailed. A nil err
// means that everything has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return fmt.Sprint(e.err) }
func (e *exitError) Unwrap() error { return e.err }

// usageError is a command line that makes no sense.
func usageError(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// dispatch runs the command that the arguments name; "run" when they name none.
func dispatch(ctx context.Context, std streams, args []string) error {
	name := "run"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	} else if len(args) > 0 {
		switch strings.TrimLeft(args[0], "-") {
		case "h", "help":
			name, args = "help", args[1:]
		case "version":
			name, args = "version", args[1:]
		}
	}
	c, err := findCommand(name)
	if err != nil {
		return err
	}
	err = c.run(ctx, std, args)
	if errors.Is(err, flag.ErrHelp) {
		return printHelp(std.out, c)
	}
	return err
}

func findCommand(name string) (command, error) {
	var names []string
	for _, c := range commands() {
		if c.name == name {
			return c, nil
		}
		names = append(names, c.name)
	}
	if near := config.Nearest(name, names); near != "" {
		return command{}, usageError("unknown command %q, did you mean %q?", name, near)
	}
	return command{}, usageError("unknown command %q, see: lenscast help", name)
}

// parseFlags parses the flags of a command and returns the arguments that
// follow, at most most of them.
func parseFlags(fs *flag.FlagSet, args []string, most int) ([]string, error) {
	fs.SetOutput(io.Discard) // errors are ours to print
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil, err
	} else if err != nil {
		return nil, usageError("%s see: lenscast help %s", flagWords(fs, err.Error()), fs.Name())
	}
	if fs.NArg() > most {
		return nil, usageError("%q is one argument too many, see: lenscast help %s", fs.Arg(most), fs.Name())
	}
	return fs.Args(), nil
}

// untilSignal returns a context that ends when the process is told to end. A
// second signal kills it.
func untilSignal(ctx context.Context) (_ context.Context, stop context.CancelFunc) {
	ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// flagWords says in our words what package flag says of a command line, up to
// where more may follow.
func flagWords(fs *flag.FlagSet, text string) string {
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		var names []string
		fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
		if near := config.Nearest(name, names); near != "" {
			return fmt.Sprintf("unknown flag -%s, did you mean -%s?", name, near)
		}
		return fmt.Sprintf("unknown flag -%s,", name)
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: "); ok {
		return name + " needs a value,"
	}
	if value, reason, ok := strings.Cut(text, " for flag "); ok { // the reason of ours begins with the value
		flag, reason, _ := strings.Cut(reason, ": ")
		if reason == "parse error" {
			reason = strings.TrimPrefix(value, "invalid value ") + " is not a number"
		}
		return flag + ": " + reason + ","
	}
	return text + ","
}
