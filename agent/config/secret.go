package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// Secret is a password or token. However it is printed, logged or encoded, it
// shows as "redacted"; only Reveal returns it.
type Secret struct {
	value  *string // a pointer, so that fmt on an enclosing struct can't reach it either
	origin string  // for people: where it came from
	file   string  // the *_file key it came from, if any
}

const redacted = "redacted"

// NewSecret returns a secret that did not come from a file.
func NewSecret(value string) Secret { return Secret{value: &value} }

// IsSet reports whether there is a secret.
func (s Secret) IsSet() bool { return s.value != nil }

// Reveal returns the secret, empty when there is none.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Origin tells people where the secret came from: "file /etc/lenscast/password".
func (s Secret) Origin() string { return s.origin }

// String returns "redacted", or nothing when there is no secret.
func (s Secret) String() string {
	if s.value == nil {
		return ""
	}
	return redacted
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue is String, for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, for encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// maxSecretSize bounds a secret in bytes.
const maxSecretSize = 4096

var (
	errSecretEmpty   = errors.New("is empty")
	errSecretTooLong = fmt.Errorf("is longer than %d characters", maxSecretSize)
	errSecretControl = errors.New("has a line break or another control character in it")
)

// checkSecret says what is wrong with a secret, without telling it.
func checkSecret(s string) error {
	switch {
	case s == "":
		return errSecretEmpty
	case len(s) > maxSecretSize:
		return errSecretTooLong
	case strings.ContainsFunc(s, unicode.IsControl):
		return errSecretControl
	}
	return nil
}

// readSecret reads a file that holds nothing but a secret; one line break at
// the end does not count. open reports whether others than its owner may read
// the file.
func readSecret(path string) (secret string, open bool, err error) {
	data, open, err := readRegular(path, maxSecretSize)
	if err != nil {
		return "", false, err
	}
	secret, err = parseSecret(path, data)
	return secret, open, err
}

// ReadSecret reads a secret as a key with "_file" does, for flags of commands:
// from a pipe, too.
func ReadSecret(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", unreadable(path, err)
	}
	defer file.Close()                                             // it was only read
	data, err := io.ReadAll(io.LimitReader(file, maxSecretSize+3)) // with a line break, and too much
	if err != nil {
		return "", unreadable(path, err)
	}
	return parseSecret(path, data)
}

func parseSecret(path string, data []byte) (string, error) {
	secret := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if err := checkSecret(secret); err != nil {
		return "", fmt.Errorf("%s %w", path, err)
	}
	return secret, nil
}

// credential reads a systemd credential (systemd.exec(5), LoadCredential=). ok
// is false when there is none of that name; secrets in arrays have no name.
func credential(name string) (secret string, ok bool, err error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" || strings.Contains(name, "[") {
		return "", false, nil
	}
	secret, _, err = readSecret(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	return secret, err == nil, err
}

// environment looks up the variable of a secret. Those in arrays have none.
func environment(path string) (string, bool) {
	if strings.Contains(path, "[") {
		return "", false
	}
	return os.LookupEnv(environmentName(path))
}

// environmentName is the variable for a key: LENSCAST_VIEWER_PASSWORD for
// "viewer.password".
func environmentName(path string) string {
	return "LENSCAST_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}
