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

// namespace is a network namespace that the agent runs in, at 198.18.77.2; the
// browser reaches it over a veth pair.
type namespace struct {
	t      *testing.T
	prefix string // of a command that runs in it
	agent  *agent // that runs in it
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	need(t, "ip")
	ns := fmt.Sprintf("lcweb%d", os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
		t.Skipf("no network namespace can be made here: %s", out)
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
	n := &namespace{t: t, prefix: "ip netns exec " + ns + " "}
	execute(t, "ip link add "+ns+" type veth peer name eth0 netns "+ns)
	// With the namespace alone it would be gone some time later.
	t.Cleanup(func() { exec.Command("ip", "link", "del", ns).Run() })
	execute(t, "ip address add 198.18.77.1/30 dev "+ns)
	execute(t, "ip link set "+ns+" up")
	n.run("ip address add 198.18.77.2/30 dev eth0")
	n.run("ip link set eth0 up")
	n.run("ip link set lo up")
	return n
}

// run runs a command inside.
func (n *namespace) run(command string) {
	n.t.Helper()
	execute(n.t, n.prefix+command)
}

// startAgent runs the agent inside and opens its page in a tab.
func (n *namespace) startAgent(camera string) *tab {
	n.t.Helper()
	n.agent = startAgent(n.t, "[viewer]\nlisten = \"198.18.77.2:8080\"\npassword = \"secret\"\n"+camera, strings.Fields(n.prefix)...)
	b := newTab(n.t)
	b.open(n.agent.url)
	b.do(chromedp.WaitVisible("#password"), chromedp.SetValue("#password", "secret"), chromedp.Submit("#password"))
	return b
}

func execute(t *testing.T, command string) {
	t.Helper()
	args := strings.Fields(command)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// TestFirewall puts the agent behind a firewall that lets no media through,
// then TCP, then all, then TCP only again.
func TestFirewall(t *testing.T) {
	need(t, "nft")
	n := newNamespace(t)
	n.run("nft add table inet firewall")
	n.run("nft add chain inet firewall no_udp { type filter hook input priority 0 ; }")
	n.run("nft add chain inet firewall no_tcp { type filter hook input priority 0 ; }")
	n.run("nft add rule inet firewall no_udp meta l4proto udp drop")
	n.run("nft add rule inet firewall no_tcp tcp dport 8555 drop")

	b := n.startAgent(testCamera)
	b.waitText("No way through to the camera", 20*time.Second)
	b.waitText("Tried 198.18.77.2:8555, over UDP and TCP.", time.Second)
	b.waitText("media blocked: trying again in", 5*time.Second)

	n.run("nft flush chain inet firewall no_tcp")
	b.waitLive("test", 40*time.Second)
	b.waitFor("it says TCP", line("test")+".endsWith(' · over TCP')", 5*time.Second)
	checkFrames(t, b.frames(2*time.Second), 30)

	n.run("nft flush chain inet firewall no_udp")
	b.do(chromedp.Reload())
	b.waitLive("test", 20*time.Second)
	b.waitFor("it does not say TCP", "!"+line("test")+".includes('TCP')", 5*time.Second)

	// While it plays, UDP is blocked again: a restart of ICE finds TCP.
	b.watchShown()
	b.waitSmooth("over UDP", 20*time.Second)
	n.run("nft add rule inet firewall no_udp meta l4proto udp drop")
	b.waitFor("it goes on over TCP", line("test")+".endsWith(' · over TCP')", 30*time.Second)
	if n := eval[int](b, "pcs.length"); n != 1 {
		t.Errorf("%d connections since the page was loaded, one was enough", n)
	}
	b.waitSmooth("over TCP", 10*time.Second)
	checkFrames(t, b.frames(2*time.Second), 30)
}

// TestSlowNetwork makes the way to the browser narrow, and wide again: the page
// tells that the picture is reduced, and its bitrate fits the way.
func TestSlowNetwork(t *testing.T) {
	need(t, "tc")
	n := newNamespace(t)
	b := n.startAgent("[[camera]]\nname = \"test\"\nsource = \"test\"\n")
	b.waitLive("test", 20*time.Second)
	// What the page shows, in bit/s.
	const shown = `((m) => m ? m[1] * (m[2] === 'M' ? 1e6 : 1e3) : NaN)(/([\d.]+) ([kM])bit\/s/.exec(%s))`
	rate := fmt.Sprintf(shown, line("test"))
	reduced := line("test") + ".includes('reduced')"
	b.waitFor("more than the narrow way carries", rate+" > 0.9e6", 30*time.Second)

	n.run("tc qdisc add dev eth0 root tbf rate 600kbit burst 16kb latency 100ms")
	b.waitFor("the picture fits the narrow way", reduced+" && "+rate+" < 0.6e6", 30*time.Second)
	b.waitFor("the page says by whom", line("test")+".includes('by a viewer')", 5*time.Second)

	n.run("tc qdisc del dev eth0 root")
	b.waitFor("the picture is what it was", "!"+reduced+" && "+rate+" > 0.9e6", 90*time.Second)
}
