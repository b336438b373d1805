// Command bench does the same work on Cairn and on go-ds-crdt, one after the
// other on this machine, and prints both beside each other. README.md says
// what is equal between the two and what is not.
package main
