// Package credentials knows who may send files to a receiver, and makes the
// certificate that it shows.
//
// The list is a TOML file:
//
//	[[agent]]
//	name = "hero"
//	token_sha256 = "9f86d081…"   # printf %s TOKEN | sha256sum
//	key_pin = "sha256//9yhV…"    # or: the public key of its certificate
//	quota = "500GiB"
//
// Tokens themselves are not in it, so that who reads it can't send.
package credentials

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/BurntSushi/toml"

	"github.com/lenscast/lenscast/agent/config"
	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/safename"
)

// agent is one who may send.
type agent struct {
	Name        string               `toml:"name"`
	TokenSHA256 *filetransfer.Digest `toml:"token_sha256"`
	KeyPin      string               `toml:"key_pin"`
	Quota       config.Size          `toml:"quota"`

	key *filetransfer.Digest // KeyPin
}

// List says who may send. It can be replaced while it is in use.
type List struct {
	agents atomic.Pointer[map[string]agent] // by folded name
	token  *filetransfer.Digest             // for every agent, nil: none
	quota  int64                            // for agents that are not listed
}

// Open lets everybody in; it is meant for a receiver that only listens on
// loopback. quota is in bytes for each agent, 0: no limit.
func Open(quota int64) *List { return &List{quota: quota} }

// SharedToken lets everybody in who knows the token.
func SharedToken(token string, quota int64) *List {
	sum := filetransfer.Digest(sha256.Sum256([]byte(token)))
	return &List{token: &sum, quota: quota}
}

// Load returns the list in the file at path.
func Load(path string) (*List, error) {
	l := &List{}
	if err := l.Reload(path); err != nil {
		return nil, err
	}
	return l, nil
}

// Reload replaces the list by what is in the file at path now. After an error
// it is what it was.
func (l *List) Reload(path string) error {
	var file struct {
		Agents []agent `toml:"agent"`
	}
	meta, err := toml.DecodeFile(path, &file)
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		return fmt.Errorf("%s:%d: %s", path, syntax.Position.Line, syntax.Message)
	}
	if err != nil {
		return fmt.Errorf("read list of agents: %w", err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return fmt.Errorf("%s: unknown key %q, an agent has name, token_sha256, key_pin and quota", path, unknown[0].String())
	}
	agents := make(map[string]agent, len(file.Agents))
	for _, a := range file.Agents {
		if err := a.check(); err != nil {
			return fmt.Errorf("%s: agent %q: %w", path, a.Name, err)
		}
		folded := safename.Fold(a.Name)
		if twin, ok := agents[folded]; ok {
			return fmt.Errorf("%s: agents %q and %q would share a folder on some disks", path, twin.Name, a.Name)
		}
		agents[folded] = a
	}
	l.agents.Store(&agents)
	return nil
}

func (a *agent) check() error {
	if err := safename.Check(a.Name); err != nil {
		return err
	}
	if a.KeyPin != "" {
		key, err := filetransfer.ParsePin(a.KeyPin)
		if err != nil {
			return err
		}
		a.key = &key
	}
	if a.key == nil && a.TokenSHA256 == nil {
		return errors.New("it has neither token_sha256 nor key_pin")
	}
	return nil
}

// Agents returns how many agents are listed.
func (l *List) Agents() int {
	if agents := l.agents.Load(); agents != nil {
		return len(*agents)
	}
	return 0
}

// Authorize judges a sender. An agent with both a token and a key must show
// both. It is a ReceiverParams.Authorize.
func (l *List) Authorize(c filetransfer.Credentials) (filetransfer.Grant, error) {
	sum := filetransfer.Digest(sha256.Sum256([]byte(c.Token)))
	agents := l.agents.Load()
	if agents == nil {
		if l.token != nil && !equal(sum, *l.token) {
			return filetransfer.Grant{}, denied("wrong or no token")
		}
		return filetransfer.Grant{Quota: l.quota}, nil
	}
	a, ok := (*agents)[safename.Fold(c.Agent)]
	switch {
	case !ok, a.Name != c.Agent:
		return filetransfer.Grant{}, denied("agent %q is not known here", c.Agent)
	case a.TokenSHA256 != nil && !equal(sum, *a.TokenSHA256):
		return filetransfer.Grant{}, denied("wrong or no token for agent %q", c.Agent)
	case a.key != nil && (c.Key == nil || !equal(*c.Key, *a.key)):
		return filetransfer.Grant{}, denied("wrong or no certificate for agent %q", c.Agent)
	}
	return filetransfer.Grant{Quota: int64(a.Quota)}, nil
}

func equal(a, b filetransfer.Digest) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

func denied(format string, args ...any) error {
	return &filetransfer.Error{Code: filetransfer.CodeDenied, Reason: fmt.Sprintf(format, args...)}
}
