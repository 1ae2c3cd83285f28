package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/lenscast/lenscast/agent/progress"
	"github.com/lenscast/lenscast/agent/recording/archive"
)

func recordingsCommand() command {
	return command{
		name: "recordings", args: "[-config FILE] [-camera NAME] [-day DAY] [delete ID...]",
		summary: "list or delete recordings",
		help: `
  -config FILE   the configuration that says where they are
  -camera NAME   only those of this camera
  -day DAY       only those that began on this day (UTC), such as 2026-11-22

Without "delete" it prints a line for each, oldest first: its ID, when it began
(a ~ in front: by a clock that was not set yet), how long it is, its size and
whether it is offloaded. What is being recorded now is not among them.
`,
		run: func(_ context.Context, std streams, args []string) error {
			fs := flag.NewFlagSet("recordings", flag.ContinueOnError)
			path, camera, day := fs.String("config", "", ""), fs.String("camera", "", ""), fs.String("day", "", "")
			args, err := parseFlags(fs, args, 1000)
			if err != nil {
				return err
			}
			cfg, _, err := loadConfig(*path)
			if err != nil {
				return err
			}
			if cfg.Recording.Dir == "" {
				return errors.New("nothing is recorded, add [recording] with dir to the configuration")
			}
			if len(args) > 0 {
				if args[0] != "delete" || len(args) == 1 {
					return usageError("write: lenscast recordings delete ID...")
				}
				return deleteRecordings(cfg.Recording.Dir, args[1:])
			}
			list, err := archive.Read(cfg.Recording.Dir)
			if err != nil {
				return err
			}
			list = slices.DeleteFunc(list, func(i archive.Info) bool {
				return *camera != "" && i.Camera != *camera || *day != "" && i.Start.Wall.Format(time.DateOnly) != *day
			})
			return printRecordings(std, list)
		},
	}
}

func printRecordings(std streams, list []archive.Info) error {
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	for _, i := range list {
		start := i.Start.Wall.Format(time.DateTime)
		if !i.WallTrusted {
			start = "~" + start
		}
		where := "here"
		if i.Offloaded != nil {
			where = "also at " + i.Offloaded.To
		}
		fmt.Fprintf(w, "%s\t%s\t%v\t%v\t%s\n", i.ID, start,
			time.Duration(i.Duration).Round(time.Second), progress.Bytes(i.Size), where)
	}
	return w.Flush()
}

// deleteRecordings deletes what it can and tells what it can't.
func deleteRecordings(dir string, ids []string) error {
	var errs []error
	for _, id := range ids {
		errs = append(errs, archive.Remove(dir, id))
	}
	return errors.Join(errs...)
}
