// Package testenv holds what the tests of several packages share: patterned
// content that can be verified at any offset, sockets with slow and resetting
// peers, lines between network namespaces that are slow and lose packets, checks for
// leaked descriptors and goroutines, and skips that are seen.
package testenv
