// Package types is Cairn's vocabulary: geneses, events, their canonical
// encoding, witnesses, cursors, limits and the errors that callers branch on.
//
// It does no I/O, starts no goroutine and reads no clock. SPEC.md describes
// every byte that it produces or accepts; testdata pins them.
package types
