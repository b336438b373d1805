package types

// Record is a value that a part of a node keeps in the store under a key of
// its own, outside of the topics.
type Record struct {
	Key   string
	Value []byte // nil, where records are written: the key is deleted
}
