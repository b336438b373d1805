// Command mutants shows that the tests would notice: it takes plausible mistakes
// from the patches beside it, makes each in turn, and runs the tests that should
// catch it. A mistake that no test catches is a missing test.
//
// A patch is a unified diff, as `git diff` writes it, behind a header:
//
//	One sentence that says what is wrong in the mutated code.
//	Tests: ./types ./node
//
// The packages are those whose tests should catch it, in the order in which they
// are tried. No file of the tree is changed: the mutated ones are laid over it
// by the go command's -overlay.
package main
