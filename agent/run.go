package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"syscall"

	"github.com/lenscast/lenscast/agent/config"
)

func runCommand() command {
	return command{
		name: "run", args: "[-config FILE] [-log-format text|json] [-log-level LEVEL]",
		summary: "show the cameras (this is what lenscast does without a command)",
		help: `
  -config FILE        the configuration; without it /etc/lenscast.toml, and if
                      that does not exist a test picture on http://localhost:8080
  -log-format FORMAT  text or json, instead of what the configuration says
  -log-level LEVEL    debug, info, warn or error, likewise

SIGHUP reads the configuration again: what changed in it is restarted, what did
not keeps running, and a file with a mistake changes nothing. SIGUSR1 starts
the recordings of cameras that are recorded by hand, SIGUSR2 stops them, for a
script behind a button. SIGINT (Ctrl-C) and SIGTERM end everything within
2 seconds, a second one at once.
`,
		run: func(ctx context.Context, std streams, args []string) error {
			var o runOptions
			fs := flag.NewFlagSet("run", flag.ContinueOnError)
			fs.StringVar(&o.path, "config", "", "")
			fs.Func("log-format", "", func(text string) error { return o.log.Format.UnmarshalText([]byte(text)) })
			fs.Func("log-level", "", func(text string) error { return o.log.Level.UnmarshalText([]byte(text)) })
			if _, err := parseFlags(fs, args, 0); err != nil {
				return err
			}
			cfg, from, err := o.load()
			if err != nil {
				return err
			}

			saveMemory()
			ctx, stop := untilSignal(ctx)
			defer stop()
			reload := make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP)
			defer signal.Stop(reload)

			out := newLogOutput(std.err)
			defer out.Close()
			out.set(cfg.Log)
			s := newSupervisor(o, out)
			signal.Notify(s.record, syscall.SIGUSR1, syscall.SIGUSR2)
			defer signal.Stop(s.record)
			return s.run(ctx, cfg, from, reload)
		},
	}
}

// runOptions are the flags of "lenscast run".
type runOptions struct {
	path string     // of the configuration, may be empty
	log  config.Log // what is set overrides the configuration
}

// load reads the configuration and applies the flags to it. from is the path
// of the file, or that it is the built-in default.
func (o runOptions) load() (cfg *config.Config, from string, err error) {
	cfg, from, err = loadConfig(o.path)
	if err != nil {
		return nil, from, err
	}
	if o.log.Format != "" {
		cfg.Log.Format = o.log.Format
	}
	if o.log.Level != "" {
		cfg.Log.Level = o.log.Level
	}
	return cfg, from, nil
}
