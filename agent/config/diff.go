package config

import (
	"reflect"
	"strings"
)

// Changes says what differs between two configurations.
type Changes struct {
	Viewer, WebRTC, Log, Recording, Offload bool

	// Cameras by name. One whose name changed is removed and added.
	Added, Changed, Removed []string

	// Pushed are the cameras of which nothing but the pushes changed, or the
	// ICE servers that these use.
	Pushed []string
}

// Diff compares two configurations.
func Diff(old, new *Config) Changes {
	c := Changes{
		Viewer:    !reflect.DeepEqual(old.Viewer, new.Viewer),
		WebRTC:    !reflect.DeepEqual(old.WebRTC, new.WebRTC),
		Log:       old.Log != new.Log,
		Recording: old.Recording != new.Recording,
		Offload:   !reflect.DeepEqual(old.Offload, new.Offload),
	}
	otherServers := !reflect.DeepEqual(old.WebRTC.ICEServers, new.WebRTC.ICEServers)
	before := make(map[string]Camera)
	for _, camera := range old.Cameras {
		before[camera.Name] = camera
	}
	for _, camera := range new.Cameras {
		was, ok := before[camera.Name]
		switch delete(before, camera.Name); {
		case !ok:
			c.Added = append(c.Added, camera.Name)
		case reflect.DeepEqual(was, camera) && otherServers && len(camera.Pushes) > 0:
			c.Pushed = append(c.Pushed, camera.Name)
		case reflect.DeepEqual(was, camera):
		case reflect.DeepEqual(was.withoutPushes(), camera.withoutPushes()):
			c.Pushed = append(c.Pushed, camera.Name)
		default:
			c.Changed = append(c.Changed, camera.Name)
		}
	}
	for _, camera := range old.Cameras {
		if _, left := before[camera.Name]; left {
			c.Removed = append(c.Removed, camera.Name)
		}
	}
	return c
}

func (c Camera) withoutPushes() Camera {
	c.Pushes = nil
	return c
}

// String lists what changed, for the log: "viewer, camera front".
func (c Changes) String() string {
	var what []string
	for _, t := range []struct {
		changed bool
		name    string
	}{{c.Viewer, "viewer"}, {c.WebRTC, "webrtc"}, {c.Log, "log"}, {c.Recording, "recording"}, {c.Offload, "offload"}} {
		if t.changed {
			what = append(what, t.name)
		}
	}
	for _, t := range []struct {
		what  string
		names []string
	}{{"new camera", c.Added}, {"changed camera", c.Changed}, {"removed camera", c.Removed}, {"pushes of camera", c.Pushed}} {
		for _, name := range t.names {
			what = append(what, t.what+" "+name)
		}
	}
	if len(what) == 0 {
		return "nothing"
	}
	return strings.Join(what, ", ")
}
