package credentials

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func tokenSum(token string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(token))) }

func TestList(t *testing.T) {
	key := filetransfer.Digest{7}
	path := filepath.Join(t.TempDir(), "agents.toml")
	write(t, path, `
[[agent]]
name = "hero"
token_sha256 = "`+tokenSum("sesame")+`"
quota = "500GiB"
[[agent]]
name = "roof"
key_pin = "`+filetransfer.FormatPin(key)+`"
[[agent]]
name = "both"
token_sha256 = "`+tokenSum("sesame")+`"
key_pin = "`+filetransfer.FormatPin(key)+`"
`)
	list, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if list.Agents() != 3 {
		t.Errorf("%d agents, want 3", list.Agents())
	}
	other := filetransfer.Digest{8}
	for _, tt := range []struct {
		c  filetransfer.Credentials
		ok bool
	}{
		{filetransfer.Credentials{Agent: "hero", Token: "sesame"}, true},
		{filetransfer.Credentials{Agent: "hero", Token: "sesam"}, false},
		{filetransfer.Credentials{Agent: "hero"}, false},
		{filetransfer.Credentials{Agent: "Hero", Token: "sesame"}, false},
		{filetransfer.Credentials{Agent: "roof", Token: "sesame"}, false},
		{filetransfer.Credentials{Agent: "roof", Key: &key}, true},
		{filetransfer.Credentials{Agent: "roof", Key: &other}, false},
		{filetransfer.Credentials{Agent: "both", Key: &key}, false},
		{filetransfer.Credentials{Agent: "both", Token: "sesame"}, false},
		{filetransfer.Credentials{Agent: "both", Token: "sesame", Key: &key}, true},
		{filetransfer.Credentials{Agent: "nobody", Token: "sesame", Key: &key}, false},
	} {
		grant, err := list.Authorize(tt.c)
		if (err == nil) != tt.ok {
			t.Errorf("%+v: %v, want ok %v", tt.c, err, tt.ok)
		}
		var e *filetransfer.Error
		if err != nil && (!errors.As(err, &e) || e.Code != filetransfer.CodeDenied || strings.Contains(err.Error(), "sesam")) {
			t.Errorf("%+v: %v, want a refusal that does not tell the token", tt.c, err)
		}
		if tt.c.Agent == "hero" && tt.ok && grant.Quota != 500<<30 {
			t.Errorf("quota is %d", grant.Quota)
		}
	}

	// A mistake changes nothing, a revocation works at once.
	write(t, path, "[[agent]]\nname = \"hero\"\ntoken = \"x\"\n")
	if err := list.Reload(path); err == nil || !strings.Contains(err.Error(), "agent.token") {
		t.Errorf("unknown key: got %v", err)
	}
	if list.Agents() != 3 {
		t.Error("the list has changed")
	}
	write(t, path, "")
	if err := list.Reload(path); err != nil {
		t.Fatal(err)
	}
	if _, err := list.Authorize(filetransfer.Credentials{Agent: "hero", Token: "sesame"}); err == nil {
		t.Error("a revoked agent is let in")
	}
}

func TestListMistakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agents.toml")
	for _, tt := range []struct{ text, want string }{
		{"[[agent]", "agents.toml"},
		{"[[agent]]\nname = \"../x\"\ntoken_sha256 = \"" + tokenSum("a") + "\"", "unsafe"},
		{"[[agent]]\nname = \"a\"\ntoken_sha256 = \"abc\"", "SHA-256"},
		{"[[agent]]\nname = \"a\"\nkey_pin = \"abc\"", "pin"},
		{"[[agent]]\nname = \"a\"", "neither"},
		{"[[agent]]\nname = \"a\"\nquota = \"much\"\ntoken_sha256 = \"" + tokenSum("a") + "\"", "size"},
		{strings.Repeat("[[agent]]\nname = \"a\"\ntoken_sha256 = \""+tokenSum("a")+"\"\n", 2), "share a folder"},
	} {
		write(t, path, tt.text)
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want something of %q", tt.text, err, tt.want)
		}
	}
}

func TestSharedToken(t *testing.T) {
	list := SharedToken("sesame", 5)
	if grant, err := list.Authorize(filetransfer.Credentials{Agent: "a", Token: "sesame"}); err != nil || grant.Quota != 5 {
		t.Errorf("got %v, %v", grant, err)
	}
	if _, err := list.Authorize(filetransfer.Credentials{Agent: "a"}); err == nil {
		t.Error("let in without a token")
	}
}

func TestSelfSigned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "certificate.pem")
	first, err := SelfSigned(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := SelfSigned(path)
	if err != nil {
		t.Fatal(err)
	}
	if filetransfer.KeyDigest(first.Leaf) != filetransfer.KeyDigest(again.Leaf) {
		t.Error("the key is another after a restart")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("certificate: %v, %v", info, err)
	}
}

// TestExample loads the list that is shipped.
func TestExample(t *testing.T) {
	list, err := Load("../../configs/receive/agents.toml")
	if err != nil || list.Agents() != 2 {
		t.Fatalf("%v, %v", list, err)
	}
}
