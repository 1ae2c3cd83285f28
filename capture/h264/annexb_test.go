package h264

import (
	"bytes"
	"os"
	"slices"
	"testing"
)

func TestSplitAnnexB(t *testing.T) {
	got, err := SplitAnnexB(nil, []byte{0, 0, 0, 1, 9, 8, 0, 0, 1, 7, 0, 0, 3, 0, 0, 0, 1, 0, 0, 1, 6})
	want := [][]byte{{9, 8}, {7, 0, 0, 3}, {6}}
	if err != nil || !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("got % x, %v, want % x", got, err, want)
	}
	if got, err := SplitAnnexB(nil, []byte{1, 2, 3}); got != nil || err != nil {
		t.Errorf("without a start code: % x, %v", got, err)
	}
}

func TestReadAll(t *testing.T) {
	clip, err := os.ReadFile("../testpattern/clip.h264")
	if err != nil {
		t.Fatal(err)
	}
	aus, err := ReadAll(bytes.NewReader(clip))
	if err != nil || len(aus) != 240 {
		t.Fatalf("%d pictures, %v; want the 240 of the clip", len(aus), err)
	}
	for i, au := range aus {
		if au.Key != (i%30 == 0) {
			t.Errorf("picture %d: key is %v", i, au.Key)
		}
	}
	if aus, err := ReadAll(bytes.NewReader([]byte("no H.264"))); len(aus) != 0 || err != nil {
		t.Errorf("something else: %d pictures, %v; want none", len(aus), err)
	}
}
