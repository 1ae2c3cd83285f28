package wallclock

import (
	"testing"
	"time"
)

// TestTrustStays sets the clock after it was trusted: the time goes on by what
// NTP said last.
func TestTrustStays(t *testing.T) {
	c, err := NewSystem()
	if err != nil {
		t.Fatal(err)
	}
	first := c.Read()
	if first.BootID == "" || first.Boot <= 0 || time.Since(first.Wall).Abs() > time.Minute {
		t.Errorf("%+v", first)
	}
	if synchronized() {
		t.Skip("NTP would correct the clock of this test")
	}
	said := time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC)
	c.trusted, c.offset = true, said.Add(-first.Boot)
	r := c.Read()
	if d := r.Wall.Sub(said); !r.Trusted || d < 0 || d > time.Minute || d != r.Boot-first.Boot {
		t.Errorf("%+v after NTP said %v", r, said)
	}
}
