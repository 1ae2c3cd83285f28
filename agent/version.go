package main

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/lenscast/lenscast/capture/encode"
)

// version is set by the linker for a release (-X main.version=1.2.3).
var version string

func versionCommand() command {
	return command{
		name:    "version",
		summary: "print the version and what this build can do",
		run: func(_ context.Context, std streams, args []string) error {
			if _, err := parseFlags(flag.NewFlagSet("version", flag.ContinueOnError), args, 0); err != nil {
				return err
			}
			b := readBuild()
			_, err := fmt.Fprintf(std.out, "lenscast %s\ncommit   %s\ngo       %s\nplatform %s/%s\nencoder  %s\n",
				b.version, b.commit, runtime.Version(), runtime.GOOS, runtime.GOARCH, encoder())
			return err
		},
	}
}

// encoder tells whether this build can encode, or only pass on and play clips.
func encoder() string {
	if encode.HaveSoftware {
		return "yes, openh264"
	}
	return "no (built without cgo)"
}

// build is what the binary knows of its making.
type build struct{ version, commit string }

func readBuild() build {
	b := build{version: version, commit: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.version == "" {
		b.version = info.Main.Version
	}
	if b.version == "" || b.version == "(devel)" {
		b.version = "development"
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			b.commit += " with changes"
		}
	}
	return b
}
