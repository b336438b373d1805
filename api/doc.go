// Package api is a node's API: one Go interface, Service, which a node answers
// in process and a Client answers from another one, over the Connect, gRPC and
// gRPC-Web protocols or as JSON with nothing but curl.
//
// The schema is cairn/v1/cairn.proto. The structs here carry the JSON that the
// command line prints.
package api

//go:generate protoc -I . -I ../client/pb --go_out=. --go_opt=paths=source_relative --connect-go_out=. --connect-go_opt=paths=source_relative,simple cairn/v1/cairn.proto cairn/v1/consumer.proto
