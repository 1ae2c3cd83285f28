package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
)

// confine takes from this process the right to any file but those below dir,
// if that is not empty, and to read the files and folders named in readable. It returns whether the
// kernel has done so (Landlock, Linux 5.13), which is tried and not believed.
func confine(dir string, readable ...string) (bool, error) {
	var rules []landlock.Rule
	if dir != "" {
		rules = append(rules, landlock.RWDirs(dir).WithRefer())
	}
	for _, path := range readable {
		info, err := os.Stat(path)
		if err != nil {
			return false, err
		}
		if info.IsDir() {
			rules = append(rules, landlock.RODirs(path))
		} else {
			rules = append(rules, landlock.ROFiles(path))
		}
	}
	if err := landlock.V5.BestEffort().RestrictPaths(rules...); err != nil {
		return false, fmt.Errorf("confine to the files it needs: %w", err)
	}
	root, err := os.Open("/")
	if err != nil {
		return errors.Is(err, fs.ErrPermission), nil
	}
	return false, root.Close()
}
