//go:build !linux

package netwatch

import "context"

// changes never tells of one.
func changes(context.Context) (<-chan struct{}, error) { return nil, nil }

func state() string { return "" }
