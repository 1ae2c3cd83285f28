package archive

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// defaultName is the template of recordings' names.
const defaultName = "{camera}/{date}/{camera}_{time}"

// The endings of the files of an archive. A running recording is
// "camera/00000042.mp4.part".
const (
	mediaSuffix = ".mp4"
	infoSuffix  = ".json"
	partSuffix  = ".part"
	stateFile   = ".state.json"
)

// checkName tells what is wrong with a template. It may hold {camera},
// {date} (2026-11-22), {time} (20261122T143000Z) and {sequence}; it is a path
// below the directory of recordings, without an ending.
func checkName(template string) error {
	if !strings.Contains(template, "{time}") && !strings.Contains(template, "{sequence}") {
		return fmt.Errorf("recording name %q: must contain {time} or {sequence}, or all would have one name", template)
	}
	if !strings.Contains(template, "{camera}") {
		return fmt.Errorf("recording name %q: must contain {camera}, or two cameras would have one name", template)
	}
	name := expand(template, "camera", time.Unix(0, 0), 1)
	if !filepath.IsLocal(name) || name != filepath.Clean(name) {
		return fmt.Errorf("recording name %q: must be a path below the directory of recordings", template)
	}
	if strings.ContainsAny(name, "{}") {
		return fmt.Errorf("recording name %q: knows only {camera}, {date}, {time} and {sequence}", template)
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") {
			return fmt.Errorf("recording name %q: a part of it begins with a dot", template)
		}
	}
	return nil
}

// checkCamera tells what is wrong with a camera's name as part of a path.
func checkCamera(name string) error {
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\\{}\x00") || len(name) > 100 {
		return errors.New("a camera's name must have 1 to 100 bytes, no slash or brace, and no dot in front")
	}
	return nil
}

func expand(template, camera string, t time.Time, sequence uint64) string {
	t = t.UTC()
	return strings.NewReplacer(
		"{camera}", camera,
		"{date}", t.Format("2006-01-02"),
		"{time}", t.Format("20060102T150405Z"),
		"{sequence}", fmt.Sprintf("%08d", sequence),
	).Replace(template)
}

// named is the time in the newest name of a camera.
type named struct {
	Time    time.Time `json:"time"`
	Trusted bool      `json:"trusted"`
}

// state is what must not be forgotten when all recordings are deleted.
type state struct {
	Sequence uint64           `json:"sequence"` // the last one used
	Newest   map[string]named `json:"newest"`   // by camera
	// Wanted are the cameras that somebody lets record.
	Wanted map[string]bool `json:"wanted,omitempty"`
}

// Wanted returns what SetWanted noted last of a camera, also before a power
// cut: whether somebody lets it record.
func (a *Archive) Wanted(camera string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.Wanted[camera]
}

// SetWanted notes that somebody lets a camera record, or does no more. When it
// returns nil, that is durable.
func (a *Archive) SetWanted(camera string, wanted bool) error {
	a.mu.Lock()
	switch {
	case !wanted:
		delete(a.state.Wanted, camera)
	case a.state.Wanted == nil:
		a.state.Wanted = map[string]bool{camera: true}
	default:
		a.state.Wanted[camera] = true
	}
	a.mu.Unlock()
	if err := a.saveState(); err != nil {
		return fmt.Errorf("note that camera %q is to record: %w", camera, err)
	}
	return nil
}

// name gives a recording its ID. Names follow each other in time: when the
// clock went back they go on second by second after the newest there is. Only
// a clock that is trusted may go back behind names made by one that was not.
//
// The caller holds the mutex.
func (a *Archive) name(i *Info) {
	t := i.Start.Wall.UTC().Truncate(time.Second)
	last := a.state.Newest[i.Camera]
	if !t.After(last.Time) && (last.Trusted || !i.WallTrusted) {
		t = last.Time.Add(time.Second)
	}
	for {
		i.ID = expand(a.template, i.Camera, t, i.Sequence)
		if !a.taken[i.ID] {
			break
		}
		t = t.Add(time.Second)
	}
	a.taken[i.ID] = true
	a.state.Newest[i.Camera] = named{t, i.WallTrusted}
}
