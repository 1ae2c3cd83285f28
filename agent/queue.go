package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/lenscast/lenscast/agent/offload"
	"github.com/lenscast/lenscast/agent/progress"
	"github.com/lenscast/lenscast/agent/recording/archive"
)

func queueCommand() command {
	return command{
		name: "queue", args: "[-config FILE] [-json] [retry ID...|all] [drop [-yes] ID...]",
		summary: "show what waits to be offloaded, retry it or take it out",
		help: `
  -config FILE   the configuration that says where the recordings are
  -json          JSON instead of a table
  -yes           with drop: do not ask

Without "retry" or "drop" it prints a line for each recording that is still to
be sent, in the order in which they are: its ID, its size, since when it waits,
what becomes of it and why, how often it was tried, and when it is again.

"retry" tries one or all of them at once, whatever was wrong. "drop" takes one
out of the queue: it is not sent any more, and stays until the retention takes
it; "retry" brings it back. All of it works on the lenscast that runs, and when
none does, on the recordings themselves.
`,
		run: runQueue,
	}
}

func runQueue(ctx context.Context, std streams, args []string) error {
	var path string
	var asJSON, yes bool
	flags := func() *flag.FlagSet {
		fs := flag.NewFlagSet("queue", flag.ContinueOnError)
		fs.StringVar(&path, "config", path, "")
		fs.BoolVar(&asJSON, "json", asJSON, "")
		fs.BoolVar(&yes, "yes", yes, "")
		return fs
	}
	args, err := parseFlags(flags(), args, len(args))
	if err != nil {
		return err
	}
	verb := ""
	if len(args) > 0 {
		verb = args[0]
		if args, err = parseFlags(flags(), args[1:], len(args)); err != nil {
			return err
		}
	}
	cfg, _, err := loadConfig(path)
	if err != nil {
		return err
	}
	if len(cfg.Offload.Servers()) == 0 {
		return errors.New("nothing is offloaded, add [offload] with server to the configuration")
	}
	q := openWaiting(cfg.Recording.Dir)
	switch {
	case verb == "":
		list, err := q.list(ctx)
		if err != nil {
			return err
		}
		return printQueue(std.out, list, asJSON)
	case verb == "retry" && len(args) > 0:
		return each(args, func(id string) error { return q.retry(ctx, id) })
	case verb == "drop" && len(args) > 0:
		if err := confirmDrop(std, args, yes); err != nil {
			return err
		}
		return each(args, func(id string) error { return q.drop(ctx, id) })
	default:
		return usageError("write: lenscast queue, lenscast queue retry ID...|all, or lenscast queue drop ID...")
	}
}

// each does something with all it can, and tells what it can't.
func each(ids []string, do func(string) error) error {
	var errs []error
	for _, id := range ids {
		if err := do(strings.TrimSuffix(id, ".mp4")); err != nil {
			errs = append(errs, err)
		}
	}
	err := errors.Join(errs...)
	if err != nil && len(errs) < len(ids) {
		return &exitError{exitPart, err}
	}
	return err
}

// confirmDrop asks on a terminal.
func confirmDrop(std streams, ids []string, yes bool) error {
	if yes {
		return nil
	}
	file, ok := std.in.(*os.File)
	if !ok || !progress.IsTerminal(file) {
		return usageError("nobody can be asked here: add -yes to take %d out of the queue", len(ids))
	}
	fmt.Fprintf(std.out, "never send %s? [y/N] ", strings.Join(ids, ", "))
	answer, err := bufio.NewReader(file).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nothing was dropped")
	}
	return nil
}

func printQueue(w io.Writer, list []offload.Item, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(offload.Listing{Queue: list})
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "nothing waits to be offloaded")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, i := range list {
		state := string(i.State)
		if i.State == offload.Sending && i.Size > 0 {
			state += fmt.Sprintf(" %d %%", 100*i.Sent/i.Size)
		}
		next := ""
		if wait := time.Until(i.NextTry); !i.NextTry.IsZero() && wait > 0 {
			next = fmt.Sprintf(", again in %v", wait.Round(time.Second))
		}
		tries := "not tried yet"
		switch i.Tries {
		case 0:
		case 1:
			tries = "tried once" + next
		default:
			tries = fmt.Sprintf("tried %d times%s", i.Tries, next)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, progress.Bytes(i.Size), i.Since.Local().Format(time.DateTime),
			state, tries, i.Reason)
	}
	return tw.Flush()
}

// waiting is the queue: of the agent that runs, or of the folder.
type waiting struct {
	dir   string
	agent *http.Client
}

func openWaiting(dir string) *waiting {
	dial := func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		err = inFolder(dir, func(short string) error {
			conn, err = (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(short, doorName))
			return err
		})
		return conn, err
	}
	return &waiting{dir: dir, agent: &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 10 * time.Second}}
}

// ask asks the agent. running is false when there is none.
func (q *waiting) ask(ctx context.Context, method, path string, answer any) (running bool, err error) {
	req, err := http.NewRequestWithContext(ctx, method, (&url.URL{Scheme: "http", Host: "lenscast", Path: path}).String(), nil)
	if err != nil {
		return true, err
	}
	resp, err := q.agent.Do(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return true, fmt.Errorf("ask the lenscast that runs: %w", err)
	}
	defer resp.Body.Close() // it was only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxQueueAnswer))
	if err != nil {
		return true, fmt.Errorf("ask the lenscast that runs: %w", err)
	}
	if resp.StatusCode >= 300 {
		var problem struct{ Detail string }
		_ = json.Unmarshal(body, &problem) // else it is plain text
		return true, errors.New(cmp.Or(problem.Detail, strings.TrimSpace(string(body))))
	}
	if answer == nil {
		return true, nil
	}
	return true, json.Unmarshal(body, answer)
}

// maxQueueAnswer bounds what an agent may answer: a hundred thousand recordings.
const maxQueueAnswer = 64 << 20

func (q *waiting) list(ctx context.Context) ([]offload.Item, error) {
	var l offload.Listing
	if running, err := q.ask(ctx, http.MethodGet, "/api/offload", &l); running {
		return l.Queue, err
	}
	all, err := archive.Read(q.dir)
	if err != nil {
		return nil, err
	}
	list := []offload.Item{}
	for _, i := range all {
		if i.Unsent() {
			list = append(list, offload.Item{
				ID: i.ID, Camera: i.Camera, Size: i.Size, Since: i.End.Wall,
				State: offload.Waiting, Reason: "lenscast is not running",
			})
		}
	}
	return list, nil
}

func (q *waiting) retry(ctx context.Context, id string) error {
	path := "/api/offload/retry"
	if id != "all" {
		path += "/" + id
	}
	if running, err := q.ask(ctx, http.MethodPost, path, nil); running {
		return err
	}
	if id == "all" {
		return nil // the next start tries all
	}
	return archive.Drop(q.dir, id, false)
}

func (q *waiting) drop(ctx context.Context, id string) error {
	if running, err := q.ask(ctx, http.MethodPost, "/api/offload/drop/"+id, nil); running {
		return err
	}
	return archive.Drop(q.dir, id, true)
}
