package safename

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for _, name := range []string{
		"GX010042.MP4", "hero 2026-11-22T07-40-14Z.mp4", "Größe.mp4", "录像.mp4", "a", "a.b.c", "x~1", "console.log", "COMMON.mp4", "com.mp4",
		"🎥.mp4", strings.Repeat("a", MaxBytes),
	} {
		if err := Check(name); err != nil {
			t.Errorf("Check(%q) = %v, want nil", name, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", "../x", "/etc/passwd", `..\x`, "a/b", "a\x00b", "-rf", ".hidden", "~root", " a", "a ", "a.", "con\nsole", "a\x1b[2Jb",
		"CON", "nul.txt", "Com1.mp4", "LPT9", "aux .txt", "a:b", "a?b", `a"b`, "a|b", "a*b", "a\u202egnp.exe", "a\u200bb", "a\u2028b", "a\u00a0b",
		"Gro\u0308ße.mp4", "\xff\xfe", "a\x80", "a\ufffdb", strings.Repeat("a", MaxBytes+1), strings.Repeat("ä", 150), "a\u007f", "a\u0085",
	} {
		if err := Check(name); !errors.Is(err, ErrUnsafe) {
			t.Errorf("Check(%q) = %v, want ErrUnsafe", name, err)
		} else if strings.ContainsAny(err.Error(), "\x00\n\x1b") {
			t.Errorf("Check(%q): the error carries control characters: %q", name, err)
		}
	}
}

func TestFold(t *testing.T) {
	if Fold("Straße.MP4") != Fold("STRASSE.mp4") {
		t.Error("Straße.MP4 and STRASSE.mp4 are twins")
	}
	if Fold("a.mp4") == Fold("b.mp4") {
		t.Error("a.mp4 and b.mp4 are no twins")
	}
}

func TestNumbered(t *testing.T) {
	for _, tt := range []struct {
		name string
		n    int
		want string
	}{
		{"clip.mp4", 2, "clip-2.mp4"},
		{"clip", 3, "clip-3"},
		{"a.tar.gz", 2, "a.tar-2.gz"},
		{strings.Repeat("ä", 100), 2, strings.Repeat("ä", 99) + "-2"},
	} {
		if got := Numbered(tt.name, tt.n); got != tt.want {
			t.Errorf("Numbered(%q, %d) = %q, want %q", tt.name, tt.n, got, tt.want)
		}
	}
}

// FuzzCheck holds every accepted name against what it promises: the operating
// system makes exactly one file of that name, in that folder.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"a.mp4", "../x", "-rf", "con", "Größe", "a\u202eb", "\xff", "a b", "com¹"} {
		f.Add(s)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, name string) {
		if Check(name) != nil {
			return
		}
		if filepath.Base(name) != name || !filepath.IsLocal(name) {
			t.Fatalf("%q is no base name", name)
		}
		if next := Numbered(name, 2); Check(next) != nil {
			t.Fatalf("Numbered(%q) = %q: %v", name, next, Check(next))
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatalf("%q passed but can't be made: %v", name, err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 || entries[0].Name() != name {
			t.Fatalf("%q made %v, %v", name, entries, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	})
}
