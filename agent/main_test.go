package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lenscast": main})
}

// TestScripts runs the command as users type it. Each script says what it is
// about in its first line.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			port, err := freePort()
			e.Setenv("PORT", port)
			e.Setenv("HOME", e.WorkDir)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await":       await,
			"reload":      reload,
			"objectstore": objectStore,
		},
	})
}

// freePort returns a TCP port of localhost that nobody listens at.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// await waits until what is at a path of the running agent matches a pattern:
//
//	await /api/status '"state":"live"'
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await PATH PATTERN")
	}
	pattern := regexp.MustCompile(args[1])
	url := "http://localhost:" + ts.Getenv("PORT") + args[0]
	var last string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		body, err := get(url)
		if err == nil && pattern.MatchString(body) {
			return
		}
		last = fmt.Sprint(body, err)
	}
	ts.Fatalf("%s never matched %s: %s", url, args[1], last)
}

// get returns the status line and the body.
func get(url string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.Status + "\n" + string(body), err
}

// reload sends SIGHUP to the command in the background.
func reload(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: reload")
	}
	running := ts.BackgroundCmds()
	if len(running) != 1 {
		ts.Fatalf("%d commands in the background", len(running))
	}
	ts.Check(running[0].Process.Signal(syscall.SIGHUP))
}

func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		args []string
		want int
	}{
		{[]string{"version"}, exitDone},
		{[]string{"help"}, exitDone},
		{[]string{"-h"}, exitDone},
		{[]string{"--version"}, exitDone},
		{[]string{"run", "-h"}, exitDone},
		{[]string{"check", "does-not-exist.toml"}, exitUsage},
		{[]string{"frobnicate"}, exitUsage},
		{[]string{"run", "extra"}, exitUsage},
		{[]string{"version", "-x"}, exitUsage},
	} {
		if got := run(t.Context(), streams{os.Stdin, io.Discard, io.Discard}, test.args); got != test.want {
			t.Errorf("lenscast %q: exit code %d, want %d", test.args, got, test.want)
		}
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	for _, c := range commands() {
		if c.name == "" || c.summary == "" || c.run == nil {
			t.Errorf("command %q is incomplete", c.name)
		}
	}
}
