package config

import "reflect"

// Changes says what differs between two configurations.
type Changes struct {
	Viewer, WebRTC, Log bool

	// Cameras by name. One whose name changed is removed and added.
	Added, Changed, Removed []string
}

// Diff compares two configurations.
func Diff(old, new *Config) Changes {
	c := Changes{
		Viewer: !reflect.DeepEqual(old.Viewer, new.Viewer),
		WebRTC: !reflect.DeepEqual(old.WebRTC, new.WebRTC),
		Log:    old.Log != new.Log,
	}
	before := make(map[string]Camera)
	for _, camera := range old.Cameras {
		before[camera.Name] = camera
	}
	for _, camera := range new.Cameras {
		was, ok := before[camera.Name]
		switch delete(before, camera.Name); {
		case !ok:
			c.Added = append(c.Added, camera.Name)
		case !reflect.DeepEqual(was, camera):
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

// None reports whether nothing differs.
func (c Changes) None() bool {
	return !c.Viewer && !c.WebRTC && !c.Log && len(c.Added)+len(c.Changed)+len(c.Removed) == 0
}
