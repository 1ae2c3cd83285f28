package netwatch

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// inside makes TestWatch run in a network namespace of its own, which it may
// change.
const inside = "LENSCAST_TEST_NETWATCH"

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

func TestWatch(t *testing.T) {
	if os.Getenv(inside) == "" {
		if out, err := exec.Command("unshare", "-n", "true").CombinedOutput(); err != nil {
			t.Skipf("no network namespaces here: %v: %s", err, out)
		}
		cmd := exec.Command("unshare", "-n", os.Args[0], "-test.run=^TestWatch$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	ip(t, "link add one type veth peer name two")
	ip(t, "link set one up")
	ip(t, "link set two up")
	changes, err := Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// What the kernel does by itself with new links is none of the test's.
	for quiet := false; !quiet; {
		select {
		case <-changes:
		case <-time.After(3 * time.Second):
			quiet = true
		}
	}
	outside := netip.MustParseAddr("192.0.2.1")
	if a := Source(outside); a.IsValid() {
		t.Fatalf("there is a way out by %v", a)
	}
	for _, step := range []struct {
		command string
		source  string // to outside afterwards, empty for none
	}{
		{"addr add 10.1.1.2/24 dev one", ""},
		{"route add default via 10.1.1.1 metric 100", "10.1.1.2"},
		{"addr add 10.1.2.2/24 dev two", "10.1.1.2"},
		{"route add default via 10.1.2.1 metric 50", "10.1.2.2"},
		{"link set two down", "10.1.1.2"},
		{"addr del 10.1.1.2/24 dev one", ""},
	} {
		ip(t, step.command)
		select {
		case <-changes:
		case <-time.After(20 * time.Second):
			t.Fatalf("%q is not told", step.command)
		}
		got := ""
		if a := Source(outside); a.IsValid() {
			got = a.String()
		}
		if got != step.source {
			t.Errorf("after %q packets leave from %q, want %q", step.command, got, step.source)
		}
	}
	// A renewal is no change.
	ip(t, "addr add 10.1.3.2/24 dev one valid_lft 100 preferred_lft 100")
	<-changes
	ip(t, "addr change 10.1.3.2/24 dev one valid_lft 200 preferred_lft 200")
	select {
	case <-changes:
		t.Error("a renewed address is told as a change")
	case <-time.After(3 * settle):
	}
}
