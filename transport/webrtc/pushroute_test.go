package webrtc_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lenscast/lenscast/transport/webrtc/whiptest"
)

// pushAddress makes TestPushProcess push there.
const pushAddress = "LENSCAST_TEST_WHIP_PUSH"

// TestPushProcess is the camera of TestPushRouteMoves.
func TestPushProcess(t *testing.T) {
	address := os.Getenv(pushAddress)
	if address == "" {
		t.Skip("runs as a process of another test only")
	}
	startPush(t, "whip://"+address+"/whip")
	select {} // until it is killed
}

const (
	cameraNS, serverNS = "lenscast-whip-camera", "lenscast-whip-server"
	serverInNS         = "10.77.9.9:8889"
)

// ip runs ip(8).
func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

// twoWays makes two namespaces with two links between them, of which the camera
// has only the first one yet.
func twoWays(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if out, err := exec.Command("ip", "netns", "add", cameraNS).CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", cameraNS).Run() })
	ip(t, "netns add "+serverNS)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", serverNS).Run() })
	inCamera, inServer := "-n "+cameraNS+" ", "-n "+serverNS+" "
	for _, way := range []string{"1", "2"} {
		ip(t, inCamera+"link add way"+way+" type veth peer name way"+way+" netns "+serverNS)
		ip(t, inServer+"addr add 10.77."+way+".1/24 dev way"+way)
		ip(t, inServer+"link set way"+way+" up")
	}
	ip(t, inServer+"link set lo up")
	ip(t, inServer+"addr add 10.77.9.9/32 dev lo")
	addWay(t, "1", "metric 100")
}

// addWay gives one of the ways to the camera.
func addWay(t *testing.T, way, metric string) {
	t.Helper()
	inCamera := "-n " + cameraNS + " "
	ip(t, inCamera+"addr add 10.77."+way+".2/24 dev way"+way)
	ip(t, inCamera+"link set way"+way+" up")
	ip(t, inCamera+"route add default via 10.77."+way+".1 "+metric)
}

// When the camera's way to the server changes, so does that of the pictures,
// and begins with an IDR.
func TestPushRouteMoves(t *testing.T) {
	for name, change := range map[string]string{
		"default route": "route add default via 10.77.2.1 metric 50",
		"cable":         "link set way1 down",
	} {
		t.Run(name, func(t *testing.T) {
			twoWays(t)
			server := startProcess(t, serverInNS, "ip", "netns", "exec", serverNS)
			<-server.listening
			camera := exec.Command("ip", "netns", "exec", cameraNS, os.Args[0], "-test.run=^TestPushProcess$", "-test.timeout=10m")
			camera.Env = append(os.Environ(), pushAddress+"="+serverInNS)
			if err := camera.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = camera.Process.Kill()
				_ = camera.Wait()
			})
			server.await(t, anyPicture)
			addWay(t, "2", "metric 200") // not before: ICE might have chosen it
			// What is sent while the network changes may be lost.
			moved := time.Now()
			ip(t, "-n "+cameraNS+" "+change)
			if name == "default route" {
				ip(t, "-n "+cameraNS+" addr del 10.77.1.2/24 dev way1")
			}
			before := server.last()
			pic := server.await(t, func(p whiptest.Picture) bool {
				return p.At.After(moved.Add(50*time.Millisecond)) && p.Key && (p.Session > before.Session || p.Timestamp > before.Timestamp)
			})
			after := pic.At.Sub(moved)
			t.Logf("the first picture came %v after the way moved, in session %d (before: %d)", after, pic.Session, before.Session)
			if after > 3*time.Second+slack {
				t.Errorf("picture after %v", after)
			}
		})
	}
}
