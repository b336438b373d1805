// Package pb holds the messages of the stream protocol /cairn/deliver/1.
package pb

//go:generate protoc --go_out=. --go_opt=paths=source_relative deliver.proto
