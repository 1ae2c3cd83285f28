// Package safename decides which names may become files here. It is the one
// place for that: names that come from the network and names that recordings
// are given both pass through it.
//
// A safe name is one path element that means the same on every file system and
// in every shell that may meet it later: it can't leave its folder, hide
// itself, look like an option, break a terminal, or collide on a disk that
// folds case.
package safename

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// MaxBytes is the longest safe name. It leaves room under the 255 bytes that
// file systems allow, for a counter or a suffix.
const MaxBytes = 200

// ErrUnsafe is wrapped by every error of [Check].
var ErrUnsafe = errors.New("unsafe file name")

// Check returns nil when name may be used as a file or folder name, else an
// error that wraps [ErrUnsafe] and says what is wrong with it.
func Check(name string) error {
	if reason := problem(name); reason != "" {
		return fmt.Errorf("%w %.80q: %s", ErrUnsafe, name, reason)
	}
	return nil
}

func problem(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case len(name) > MaxBytes:
		return fmt.Sprintf("it has %d bytes, %d are allowed", len(name), MaxBytes)
	case !utf8.ValidString(name):
		return "it is not UTF-8"
	case !norm.NFC.IsNormalString(name):
		return "its letters are not composed (Unicode NFC)"
	case name[0] == '.':
		return "it begins with a dot"
	case name[0] == '-':
		return "it begins with a dash"
	case name[0] == '~':
		return "it begins with a tilde"
	case name[0] == ' ':
		return "it begins with a space"
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		return "it ends with a dot or a space"
	case reserved(name):
		return "Windows reserves it for a device"
	}
	for _, r := range name {
		switch {
		case r == '/' || r == '\\':
			return "it holds a path separator"
		case strings.ContainsRune(`<>:"|?*`, r):
			return fmt.Sprintf("it holds %q, which some file systems refuse", r)
		case r == utf8.RuneError:
			return "it holds a replacement character"
		case r != ' ' && !unicode.IsGraphic(r), unicode.Is(unicode.Zs, r) && r != ' ':
			// Controls, line separators, and format characters such as
			// those that turn the direction of writing around.
			return fmt.Sprintf("it holds the invisible character %U", r)
		}
	}
	return ""
}

// reserved tells whether Windows takes name for a device, with or without an
// extension: CON, nul.txt, COM1.
func reserved(name string) bool {
	base, _, _ := strings.Cut(name, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	if strings.HasPrefix(base, "COM") || strings.HasPrefix(base, "LPT") {
		digit := base[3:]
		return strings.Contains("0123456789¹²³", digit) && utf8.RuneCountInString(digit) == 1
	}
	return false
}

// Fold returns the form under which two names are twins on a disk that folds
// case.
func Fold(name string) string {
	return norm.NFC.String(cases.Fold().String(name))
}

// Numbered returns name with a number before its extension, for a file that
// must not take the place of another: clip.mp4 becomes clip-2.mp4. The result
// is safe when name is.
func Numbered(name string, n int) string {
	base, ext := name, ""
	if dot := strings.LastIndexByte(name, '.'); dot > 0 && len(name)-dot <= 16 {
		base, ext = name[:dot], name[dot:]
	}
	suffix := fmt.Sprintf("-%d", n) + ext
	for len(base)+len(suffix) > MaxBytes {
		_, size := utf8.DecodeLastRuneInString(base)
		base = base[:len(base)-size]
	}
	return base + suffix
}
