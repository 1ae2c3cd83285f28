package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestFirewall puts the agent into a network namespace behind a firewall that
// lets no media through, then TCP, then all, then TCP only again.
func TestFirewall(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	need(t, "nft")
	need(t, "ip")
	ns := fmt.Sprintf("lcweb%d", os.Getpid())
	run := func(command string) {
		t.Helper()
		args := strings.Fields(command)
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	inside := "ip netns exec " + ns + " "
	if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
		t.Skipf("no network namespace can be made here: %s", out)
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
	run("ip link add " + ns + " type veth peer name eth0 netns " + ns)
	run("ip address add 198.18.77.1/30 dev " + ns)
	run("ip link set " + ns + " up")
	run(inside + "ip address add 198.18.77.2/30 dev eth0")
	run(inside + "ip link set eth0 up")
	run(inside + "ip link set lo up")
	run(inside + "nft add table inet firewall")
	run(inside + "nft add chain inet firewall no_udp { type filter hook input priority 0 ; }")
	run(inside + "nft add chain inet firewall no_tcp { type filter hook input priority 0 ; }")
	run(inside + "nft add rule inet firewall no_udp meta l4proto udp drop")
	run(inside + "nft add rule inet firewall no_tcp tcp dport 8555 drop")

	a := startAgent(t, "[viewer]\nlisten = \"198.18.77.2:8080\"\npassword = \"secret\"\n"+testCamera, strings.Fields(inside)...)
	b := newTab(t)
	b.open(a.url)
	b.do(chromedp.WaitVisible("#password"), chromedp.SetValue("#password", "secret"), chromedp.Submit("#password"))
	b.waitText("No way through to the camera", 20*time.Second)
	b.waitText("Tried 198.18.77.2:8555, over UDP and TCP.", time.Second)
	b.waitText("media blocked: trying again in", 5*time.Second)

	run(inside + "nft flush chain inet firewall no_tcp")
	b.waitLive("test", 40*time.Second)
	b.waitFor("it says TCP", line("test")+".endsWith(' · over TCP')", 5*time.Second)
	checkFrames(t, b.frames(2*time.Second), 30)

	run(inside + "nft flush chain inet firewall no_udp")
	b.do(chromedp.Reload())
	b.waitLive("test", 20*time.Second)
	b.waitFor("it does not say TCP", "!"+line("test")+".includes('TCP')", 5*time.Second)

	// While it plays, UDP is blocked again: a restart of ICE finds TCP.
	run(inside + "nft add rule inet firewall no_udp meta l4proto udp drop")
	b.waitFor("it goes on over TCP", line("test")+".endsWith(' · over TCP')", 30*time.Second)
	if n := eval[int](b, "pcs.length"); n != 1 {
		t.Errorf("%d connections since the page was loaded, one was enough", n)
	}
	checkFrames(t, b.frames(2*time.Second), 30)
}
