package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	const secret = "hunter2"
	cfg := Default()
	cfg.Viewer.Password = NewSecret(secret)
	hidden := struct{ s Secret }{cfg.Viewer.Password}
	var out strings.Builder
	for _, v := range []any{cfg, *cfg, cfg.Viewer, cfg.Viewer.Password, &cfg.Viewer.Password, hidden, &hidden} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("test", "value", v)
		}
		if data, err := json.Marshal(v); err == nil {
			out.Write(data)
		}
	}
	for _, form := range []string{secret, fmt.Sprintf("%x", secret)} {
		if at := strings.Index(out.String(), form); at >= 0 {
			t.Errorf("the secret is printed: …%s", out.String()[max(0, at-80):at+len(form)])
		}
	}
	if !strings.Contains(out.String(), "redacted") {
		t.Error("nothing tells that there is a secret")
	}
}

func TestSecretSources(t *testing.T) {
	credentials := t.TempDir()
	file := write(t, "password", "from file\n")
	inline := "[viewer]\npassword = \"from inline\"\n"
	inFile := "[viewer]\npassword_file = '" + file + "'\n"

	// Each step adds a source that comes before the others.
	if p := mustLoad(t, inline).Viewer.Password; p.Reveal() != "from inline" {
		t.Errorf("inline: %q from %s", p.Reveal(), p.Origin())
	}
	t.Setenv("LENSCAST_VIEWER_PASSWORD", "from environment")
	if p := mustLoad(t, inline).Viewer.Password; p.Reveal() != "from environment" || !strings.Contains(p.Origin(), "LENSCAST_VIEWER_PASSWORD") {
		t.Errorf("environment: %q from %s", p.Reveal(), p.Origin())
	}
	if p := mustLoad(t, inFile).Viewer.Password; p.Reveal() != "from file" || !strings.Contains(p.Origin(), file) {
		t.Errorf("file: %q from %s", p.Reveal(), p.Origin())
	}
	t.Setenv("CREDENTIALS_DIRECTORY", credentials)
	if p := mustLoad(t, inFile).Viewer.Password; p.Reveal() != "from file" {
		t.Errorf("empty credentials folder: %q from %s", p.Reveal(), p.Origin())
	}
	if err := os.WriteFile(filepath.Join(credentials, "viewer.password"), []byte("from systemd"), 0o400); err != nil {
		t.Fatal(err)
	}
	if p := mustLoad(t, inFile).Viewer.Password; p.Reveal() != "from systemd" || !strings.Contains(p.Origin(), "credential") {
		t.Errorf("credential: %q from %s", p.Reveal(), p.Origin())
	}
}

func TestBadSecrets(t *testing.T) {
	for name, content := range map[string]string{
		"empty":     "",
		"line":      "\n",
		"two-lines": "hunter2\nhunter2\n",
		"too-long":  strings.Repeat("hunter2", 1000),
		"binary":    "hunter2\x00",
	} {
		file := write(t, name, content)
		_, err := Load(write(t, "lenscast.toml", "[viewer]\npassword_file = '"+file+"'\n"), Checks{})
		if err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want an error that names the file and not the secret", name, err)
		}
	}
	for _, line := range []string{"password = 5", "password = \"\"", "password = \"hunter2\\n\"", "password = \"hunter2\"\npassword_file = \"x\"", "token = [\"hunter2\"]"} {
		_, err := Load(write(t, "lenscast.toml", "[viewer]\n"+line+"\n"), Checks{})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want an error without the secret", line, err)
		}
	}
}

// Commands take a secret from a pipe, too, and never more than one can have.
func TestReadSecret(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() { _ = os.WriteFile(pipe, []byte("from a pipe\n"), 0) }()
	if got, err := ReadSecret(pipe); err != nil || got != "from a pipe" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := ReadSecret(write(t, "longest", strings.Repeat("x", maxSecretSize)+"\r\n")); err != nil || len(got) != maxSecretSize {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for file, want := range map[string]string{
		"/dev/zero":                        "is longer than",
		"/dev/null":                        "is empty",
		write(t, "two", "one\ntwo\n"):      "line break",
		filepath.Join(t.TempDir(), "none"): "does not exist",
	} {
		if got, err := ReadSecret(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v, want %q", file, got, err, want)
		}
	}
}
