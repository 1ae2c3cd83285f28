package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSystemdUnit lets systemd read the unit.
func TestSystemdUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	text, err := os.ReadFile("../configs/lenscast.service")
	if err != nil {
		t.Fatal(err)
	}
	const installed = "/usr/local/bin/lenscast"
	if !strings.Contains(string(text), "ExecStart="+installed+" run\n") {
		t.Fatalf("the unit does not start %s", installed)
	}
	// The command must exist: any executable will do.
	unit := strings.ReplaceAll(string(text), installed, "/bin/true")
	if version := systemdVersion(t, analyze); version < 253 {
		unit = strings.NewReplacer("Type=notify-reload\n", "", "#Type=", "Type=", "#ExecReload=", "ExecReload=").Replace(unit)
	}
	path := filepath.Join(t.TempDir(), "lenscast.service")
	if err := os.WriteFile(path, []byte(unit), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", "--recursive-errors=no", path).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func systemdVersion(t *testing.T, analyze string) int {
	t.Helper()
	out, err := exec.Command(analyze, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	var version int
	if _, err := fmt.Sscanf(string(out), "systemd %d", &version); err != nil {
		t.Fatalf("read version %q: %v", out, err)
	}
	return version
}
