//go:build race

package testenv

// Race says that the race detector is on: everything takes ten times as long.
const Race = true
