package archive

import "testing"

func TestByteCount(t *testing.T) {
	for b, want := range map[byteCount]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 2 << 30: "2.0 GiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := b.String(); got != want {
			t.Errorf("%d: %s, want %s", int64(b), got, want)
		}
	}
}
