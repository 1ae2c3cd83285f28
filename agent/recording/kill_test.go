package recording_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestKilledAtRandomMoments kills a recorder by SIGKILL, 6 times, or as often
// as LENSCAST_KILLS says: nothing that was finished is lost, and of the
// running one no more than configured, and ffmpeg decodes all of it silently.
func TestKilledAtRandomMoments(t *testing.T) {
	kills := 6
	if s := os.Getenv("LENSCAST_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	dir := t.TempDir()
	clip := filepath.Join(dir, "clip.h264")
	if out, err := exec.Command(ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30", "-t", "5",
		"-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0",
		"-x264-params", "aud=1:keyint=15:min-keyint=15:scenecut=0", "-f", "h264", clip).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	sound := filepath.Join(dir, "sound.aac")
	if out, err := exec.Command(ffmpeg, "-v", "error", "-f", "lavfi", "-i", "sine", "-t", "5", "-c:a", "aac", sound).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	rig := func(mode string) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "LENSCAST_RIG="+mode, "LENSCAST_RIG_DIR="+filepath.Join(dir, "rec"),
			"LENSCAST_RIG_CLIP="+clip, "LENSCAST_RIG_SOUND="+sound, "LENSCAST_RIG_JOURNAL="+filepath.Join(dir, "journal"),
			"LENSCAST_RIG_OUT="+out, "LENSCAST_RIG_SEGMENT=1s")
		cmd.Stderr = os.Stderr
		return cmd
	}
	finished, withSound, worst := 0, 0, 0.0
	for n := range kills {
		cmd := rig("record")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300*time.Millisecond + rand.N(3*time.Second)) // when the kill comes is the test's input
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		b, err := rig("check").Output()
		if err != nil {
			t.Fatalf("check: %v", err)
		}
		var kept, lost, broken int
		var published, tail float64
		if _, err := fmt.Sscanf(string(b), "result finished=%d lost=%d broken=%d published=%f tail_lost=%f",
			&kept, &lost, &broken, &published, &tail); err != nil {
			t.Fatalf("check says %q: %v", b, err)
		}
		finished += kept
		worst = max(worst, tail)
		if lost > 0 || broken > 0 || tail > 2 {
			t.Errorf("kill %d: %s", n, strings.TrimSpace(string(b)))
		}
		files, _ := filepath.Glob(filepath.Join(out, "*.mp4"))
		for _, f := range files {
			if b, err := exec.Command(ffmpeg, "-v", "error", "-i", f, "-f", "null", "-").CombinedOutput(); err != nil || len(b) > 0 {
				t.Errorf("kill %d: ffmpeg: %v\n%s", n, err, b)
			}
			if packets := packetTimes(t, f); len(packets) > 0 {
				withSound++
			}
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d kills: %d finished recordings, at most %.3f s lost of the running one, %d files with sound", kills, finished, worst, withSound)
	if withSound == 0 {
		t.Error("no recording has sound")
	}
	if finished == 0 {
		t.Error("no recording was finished before a kill")
	}
}
