// Package e2e holds the tests that look at the viewer page in a browser. It
// has nothing but tests.
package e2e
