package webrtc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// videoOffer makes an offer of formats, each "PT profile-level-id mode".
func videoOffer(formats ...string) string {
	var numbers, lines []string
	for _, f := range formats {
		var pt, profile, mode string
		fmt.Sscan(f, &pt, &profile, &mode)
		numbers = append(numbers, pt)
		lines = append(lines, fmt.Sprintf("a=rtpmap:%s H264/90000\r\na=fmtp:%s level-asymmetry-allowed=1;packetization-mode=%s;profile-level-id=%s\r\n", pt, pt, mode, profile))
	}
	return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF " + strings.Join(numbers, " ") + " 99\r\n" +
		"a=recvonly\r\n" + strings.Join(lines, "") + "a=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=" + numbers[0] + "\r\n"
}

func TestCodecChoice(t *testing.T) {
	chromium := []string{"102 42001f 1", "104 42001f 0", "108 42e01f 1", "114 42e01f 0", "116 4d001f 1", "39 4d001f 0"}
	safari := []string{"96 640c1f 1", "98 42e01f 1", "100 640c1f 0", "102 42e01f 0"}
	for _, c := range []struct {
		name, profile string
		formats       []string
		want          uint8
	}{
		{"Chromium, constrained baseline", "Constrained Baseline", chromium, 108},
		{"Chromium, baseline", "Baseline", chromium, 108},
		{"Chromium, not known yet", "", chromium, 108},
		{"Chromium, Main", "Main", chromium, 116},
		{"Chromium, High", "High", chromium, 116},
		{"Safari, High", "High", safari, 96},
		{"Safari, constrained High", "Constrained High", safari, 96},
		{"Safari, constrained baseline", "Constrained Baseline", safari, 98},
		{"mode 0 first", "", []string{"97 42e01f 0", "98 42001f 1"}, 98},
		{"upper case", "", []string{"97 42001F 1", "98 42E01F 1"}, 98},
	} {
		o, err := parseOffer(videoOffer(c.formats...), c.profile)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if o.video.payloadType != c.want {
			t.Errorf("%s: chose %d, want %d", c.name, o.video.payloadType, c.want)
		}
	}
	if _, err := parseOffer(videoOffer("97 42e01f 0"), ""); !errors.Is(err, errNoH264) {
		t.Errorf("only mode 0: %v", err)
	}
	if o, err := parseOffer(videoOffer("97 42e01f 1"), ""); err != nil || o.video.retransmit != 99 {
		t.Errorf("RTX is %+v, %v; want 99", o, err)
	}
}

func TestCandidatesMoveToTheFirstAcceptedSection(t *testing.T) {
	text := "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 1\r\n" +
		"m=audio 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n" +
		"a=candidate:1 1 udp 2130706431 192.0.2.1 8555 typ host\r\na=candidate:1 2 udp 2130706431 192.0.2.1 8555 typ host\r\na=end-of-candidates\r\n" +
		"m=video 9 UDP/TLS/RTP/SAVPF 108\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijkl\r\na=sendonly\r\n"
	a, err := makeAnswer(text, codec{payloadType: 108})
	if err != nil {
		t.Fatal(err)
	}
	audio, video, _ := strings.Cut(a.sdp, "m=video")
	if strings.Contains(audio, "candidate") {
		t.Errorf("the rejected section keeps candidates:\n%s", a.sdp)
	}
	if strings.Count(video, "a=candidate:") != 1 || !strings.Contains(video, "a=end-of-candidates") {
		t.Errorf("the accepted section should have one candidate:\n%s", a.sdp)
	}
	want := "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijkl\r\nm=video 9 UDP/TLS/RTP/SAVPF 108\r\na=mid:1\r\n" +
		"a=candidate:1 1 udp 2130706431 192.0.2.1 8555 typ host\r\na=end-of-candidates\r\n"
	if got := a.fragment(a.candidates); got != want {
		t.Errorf("fragment is\n%s\nwant\n%s", got, want)
	}
	if _, err := makeAnswer(strings.Replace(text, "a=sendonly", "a=inactive", 1), codec{payloadType: 108}); err == nil {
		t.Error("an inactive video section was accepted")
	}
	if _, err := makeAnswer(text, codec{payloadType: 96}); err == nil {
		t.Error("another format than the chosen one was accepted")
	}
}

func TestParseFragment(t *testing.T) {
	const host = "1 1 udp 2130706431 192.0.2.7 5000 typ host"
	f, err := parseFragment("a=ice-options:trickle\na=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n" +
		"m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:" + host + "\r\nm=video 9 RTP/AVP 0\r\na=mid:1\r\na=candidate:" + host + "\r\na=end-of-candidates\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if f.ufrag != "EsAw" || len(f.candidates) != 2 || f.candidates[0] != (candidate{host, "0"}) || f.candidates[1].mid != "1" {
		t.Errorf("got %+v", f)
	}
	for name, body := range map[string]string{
		"no SDP":          "hello",
		"candidate":       "a=candidate:x",
		"ufrag alone":     "a=ice-ufrag:abcd\r\n",
		"short password":  "a=ice-ufrag:abcd\r\na=ice-pwd:short\r\n",
		"bad characters":  "a=ice-ufrag:ab d\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
		"many candidates": strings.Repeat("a=candidate:"+host+"\r\n", maxCandidates+1),
	} {
		if _, err := parseFragment(body); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCongestionBacksOff(t *testing.T) {
	now := time.Unix(0, 0)
	var c tcpPause
	if send, _ := c.admit(false, now); !send {
		t.Fatal("a picture was held back without congestion")
	}
	c.hit(now)
	for _, step := range []struct {
		after     time.Duration
		key       bool
		send, ask bool
	}{
		{0, true, false, false}, // the pause
		{400 * time.Millisecond, true, false, false},
		{200 * time.Millisecond, false, false, true}, // over: an IDR, please
		{time.Millisecond, false, false, false},      // once
		{time.Millisecond, true, true, false},
		{time.Millisecond, false, true, false},
	} {
		now = now.Add(step.after)
		if send, ask := c.admit(step.key, now); send != step.send || ask != step.ask {
			t.Errorf("at %v: send %v, ask %v; want %+v", now.UnixMilli(), send, ask, step)
		}
	}
	for range 10 {
		c.hit(now)
	}
	if d := c.until.Sub(now); d != maxPause {
		t.Errorf("a stalled viewer is tried again after %v, want %v", d, maxPause)
	}
	c.hit(c.until.Add(calm + 1))
	if c.pause != minPause {
		t.Errorf("after all went well the pause is %v, want %v", c.pause, minPause)
	}
}

// seeds adds the offers of real browsers.
func seeds(f *testing.F) {
	files, err := filepath.Glob("testdata/*.sdp")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "High")
		f.Add(string(text), "")
	}
}

// FuzzOffer makes sessions of offers that pass, without letting them connect.
func FuzzOffer(f *testing.F) {
	seeds(f)
	s, err := NewServer(ServerParams{Listen: "127.0.0.1:0", Camera: func(string) (Feed, error) { return Feed{}, nil }})
	if err != nil {
		f.Fatal(err)
	}
	ports, err := openPorts(f.Context(), "127.0.0.1:0", pionLogs{s.log})
	if err != nil {
		f.Fatal(err)
	}
	defer ports.close()
	s.ports, s.running = ports, f.Context()
	f.Fuzz(func(t *testing.T, text, profile string) {
		o, err := parseOffer(text, profile)
		if err != nil {
			return
		}
		params, _, err := s.reserve("cam")
		if err != nil {
			t.Fatal(err)
		}
		defer s.release("cam", "")
		params.offer, params.end = o, func(error) {}
		sess, err := newSession(t.Context(), params)
		if err != nil {
			return
		}
		if !strings.Contains(sess.answer.sdp, fmt.Sprintf("a=rtpmap:%d H264/90000", o.video.payloadType)) {
			t.Errorf("answer lacks the chosen format:\n%s", sess.answer.sdp)
		}
		if err := sess.pc.GracefulClose(); err != nil {
			t.Error(err)
		}
	})
}

// FuzzFragment applies fragments to an offer as an ICE restart does.
func FuzzFragment(f *testing.F) {
	f.Fuzz(func(t *testing.T, body string) {
		fragment, err := parseFragment(body)
		if err != nil {
			return
		}
		if len(fragment.candidates) > maxCandidates {
			t.Fatalf("%d candidates", len(fragment.candidates))
		}
		if fragment.ufrag == "" {
			return
		}
		text, err := restarted(videoOffer("108 42e01f 1")+"a=ice-ufrag:old1\r\na=ice-pwd:0123456789abcdefghijkl\r\n", fragment)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text, "a=ice-ufrag:"+fragment.ufrag+"\r\n") || strings.Contains(text, "old1") {
			t.Errorf("credentials were not replaced:\n%s", text)
		}
		if _, err := parseOffer(text, ""); err != nil {
			t.Error(err)
		}
	})
}

// FuzzPushAnswer reads answers of WHIP servers. What passes has one format left.
func FuzzPushAnswer(f *testing.F) {
	f.Add(videoOffer("108 42e01f 1"), "High")
	f.Add(videoOffer("108 42e01f 1", "102 64001f 1"), "High")
	f.Add(videoOffer("108 42e01f 0"), "")
	f.Fuzz(func(t *testing.T, text, profile string) {
		answer, err := readAnswer(text, profile)
		if err != nil {
			return
		}
		o, err := parseOffer(strings.ReplaceAll(answer, "a=sendonly", "a=recvonly"), profile)
		if err != nil {
			t.Fatalf("%v in\n%s", err, answer)
		}
		_, section, _ := strings.Cut(answer, "m=video ")
		section, _, _ = strings.Cut(section, "\r\n")
		if f := strings.Fields(section); len(f) > 4 || f[2] != strconv.Itoa(int(o.video.payloadType)) {
			t.Errorf("%q is left for %d:\n%s", section, o.video.payloadType, answer)
		}
	})
}
