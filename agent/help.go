package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

func helpCommand() command {
	return command{
		name: "help", args: "[COMMAND]",
		summary: "explain lenscast or one of its commands",
		run: func(_ context.Context, std streams, args []string) error {
			args, err := parseFlags(flag.NewFlagSet("help", flag.ContinueOnError), args, 1)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return printOverview(std.out)
			}
			c, err := findCommand(args[0])
			if err != nil {
				return err
			}
			return printHelp(std.out, c)
		},
	}
}

func printOverview(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, "lenscast shows the picture of a camera in any browser.\n\n"+
		"Type \"lenscast\" and open http://localhost:8080.\n\n")
	for _, c := range commands() {
		fmt.Fprintf(tw, "  lenscast %s\t%s\n", c.name, c.summary)
	}
	fmt.Fprint(tw, "\nMore of each: lenscast help COMMAND\n"+
		"Exit codes: 0 done, 1 failed, 2 wrong use or configuration, 3 done in part.\n")
	return tw.Flush()
}

func printHelp(w io.Writer, c command) error {
	_, err := fmt.Fprintf(w, "usage: lenscast %s\n\n%s\n%s", strings.TrimSpace(c.name+" "+c.args), c.summary, c.help)
	return err
}
