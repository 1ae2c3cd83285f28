package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"

	"github.com/lenscast/lenscast/agent/config"
)

func checkCommand() command {
	return command{
		name: "check", args: "[FILE]",
		summary: "check a configuration file and print what it means",
		help: `
Everything that is wrong with the file is listed, each with its line. When
nothing is, the configuration is printed with all its defaults, without
secrets but with where each came from. What is allowed but unwise is told on
standard error. Without FILE it is the one that "lenscast run" would take.
`,
		run: func(_ context.Context, std streams, args []string) error {
			args, err := parseFlags(flag.NewFlagSet("check", flag.ContinueOnError), args, 1)
			if err != nil {
				return err
			}
			path := ""
			if len(args) > 0 {
				path = args[0]
			}
			cfg, _, err := loadConfig(path)
			if err != nil {
				return err
			}
			for _, w := range cfg.Warnings() {
				fmt.Fprintln(std.err, "warning:", w)
			}
			return cfg.WriteTOML(std.out)
		},
	}
}

// loadConfig reads the configuration file at path. Without a path it is
// config.DefaultPath, if that exists, and else the built-in default. from
// tells people which it was.
func loadConfig(path string) (cfg *config.Config, from string, err error) {
	if path == "" {
		if _, err := os.Stat(config.DefaultPath); !errors.Is(err, fs.ErrNotExist) {
			path = config.DefaultPath
		}
	}
	if path == "" {
		path = "built-in default"
		cfg, err = config.LoadDefault()
	} else {
		cfg, err = config.Load(path, config.Checks{Push: checkPush, Server: checkServer})
	}
	var problems config.Problems
	if errors.As(err, &problems) {
		return nil, path, &exitError{exitUsage, fmt.Errorf("%s\n%w", countProblems(len(problems)), problems)}
	} else if err != nil {
		return nil, path, &exitError{exitUsage, err}
	}
	return cfg, path, nil
}

func countProblems(n int) string {
	if n == 1 {
		return "the configuration has a problem"
	}
	return fmt.Sprintf("the configuration has %d problems", n)
}
