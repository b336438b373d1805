// Package trie is a Merkle radix trie over 32-byte keys: one hash that stands
// for a whole set of keys and values, and that is cheap to keep up to date.
//
// The root depends on nothing but the keys and values held, in whatever order
// they came and went: two tries with equal roots hold the same. A topic's heads
// hash is the root over its heads (the digest of each head's CID, with the zero
// value), and the digest that two nodes compare is the root over their topics.
// SPEC.md gives the encoding of a node; testdata pins it.
//
// The trie has a branch wherever keys part and nowhere else, so a branch has 2
// to 16 children, and a trie of n keys at most n-1 branches. At most 64 of them
// lie above a key, one for each of its nibbles, however the keys were chosen.
// Children are found by key prefix, which is what a walk that compares two
// tries from the root down needs.
package trie
