// Package pb is the gossip message as protobuf.
package pb

//go:generate protoc --go_out=. --go_opt=paths=source_relative gossip.proto
