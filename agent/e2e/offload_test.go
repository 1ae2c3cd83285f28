package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOffloadThroughKills is the short version of the script that kills agent
// and receiver a hundred times.
func TestOffloadThroughKills(t *testing.T) {
	t.Parallel()
	need(t, "bash")
	port, err := freeTCPPort()
	must(t, err)
	cmd := exec.Command("bash", "../../scripts/testbed/offload-kill.sh", "6")
	cmd.Env = append(os.Environ(), "PORT="+port)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// What the page tells of recordings that wait, and of those that have arrived.
func TestOffloadOnPage(t *testing.T) {
	t.Parallel()
	port, err := freeTCPPort()
	must(t, err)
	dir := t.TempDir()
	a := startAgent(t, fmt.Sprintf(`[recording]
dir = %q
mode = "manual"
keep_free = "16MiB"
[offload]
server = "127.0.0.1:%s"
agent = "cam"
`, filepath.Join(dir, "rec"), port)+testCamera)
	b := newTab(t)
	b.open(a.url + "/recordings")
	const recorder = "document.querySelector('#recorders button')"
	b.waitFor("a recorder", recorder+"?.textContent === 'Record test'", 20*time.Second)
	eval[any](b, recorder+".click()")
	b.waitFor("2 s of recording", `Number(/0:(\d\d) .*being recorded/.exec(document.body.innerText)?.[1]) >= 2`, 30*time.Second)
	eval[any](b, recorder+".click()")
	b.waitText("1 of 1 waits", 20*time.Second)
	b.waitText("is lenscast receive running there?", 20*time.Second)
	const retry = "[...document.querySelectorAll('[data-part=retry]')].find((b) => !b.hidden)"
	b.waitFor("a button to try again", retry, 20*time.Second)

	must(t, os.Mkdir(filepath.Join(dir, "in"), 0o700))
	binary, err := build()
	must(t, err)
	receiver := exec.Command(binary, "receive", "-dir", filepath.Join(dir, "in"), "-listen", "127.0.0.1:"+port, "-keep-free", "1MiB")
	receiver.Stderr = t.Output()
	must(t, receiver.Start())
	defer func() {
		receiver.Process.Kill()
		receiver.Wait()
	}()
	eval[any](b, retry+"?.click()") // it may be tried already
	b.waitText("also at 127.0.0.1:"+port, 40*time.Second)
	b.waitText("All are sent", 20*time.Second)
	arrived, err := filepath.Glob(filepath.Join(dir, "in/cam/test/*/*.mp4"))
	must(t, err)
	if len(arrived) != 1 {
		t.Errorf("at the receiver: %s", strings.Join(arrived, " "))
	}
	if complaints := b.complaints(); len(complaints) > 0 {
		t.Errorf("the console is not clean: %q", complaints)
	}
}

// freeTCPPort returns a port of 127.0.0.1 that nobody listens at.
func freeTCPPort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
