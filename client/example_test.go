package client_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/cairn-p2p/cairn/client"
	"github.com/cairn-p2p/cairn/keyfile"
	"github.com/cairn-p2p/cairn/node"
)

// A light client publishes through a broker, and reads what it serves, without
// trusting it.
func Example() {
	ctx := context.Background()
	broker, err := node.Open(ctx, node.Config{
		Role: node.RoleBroker, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, DHT: node.DHTOff,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer broker.Close() //nolint:errcheck // an example
	topic, err := broker.Join(ctx, "news")
	if err != nil {
		log.Fatal(err)
	}

	// The client knows the broker's address and the topic's id, and has a key.
	b, err := client.Dial(ctx, broker.Addrs()[0], node.DefaultNetwork)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close() //nolint:errcheck // an example
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // an example
	path := filepath.Join(dir, "my.key")
	key, err := keyfile.New()
	if err == nil {
		err = keyfile.Write(path, key)
	}
	if err != nil {
		log.Fatal(err)
	}
	p, err := client.OpenPublisher(path)
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close() //nolint:errcheck // an example
	drafts := []client.Draft{{Payload: []byte("first")}, {Payload: []byte("second")}}
	if _, err := p.Publish(ctx, b, topic.ID(), drafts...); err != nil {
		log.Fatal(err)
	}

	s := client.Subscription{Topic: topic.ID()}
	seen, err := client.OpenSeen("", s)
	if err != nil {
		log.Fatal(err)
	}
	defer seen.Close() //nolint:errcheck // an example
	for d, err := range client.Subscribe(ctx, b, s, seen) {
		if err != nil {
			log.Fatal(err) // a *client.Violation has the evidence
		}
		fmt.Printf("%d: %s, height %d, %d links unverified\n", d.Cursor.Number, d.Payload, d.Height, len(d.Unverified))
		if d.Cursor.Number == 2 {
			break
		}
	}
	// Output:
	// 1: first, height 1, 0 links unverified
	// 2: second, height 2, 0 links unverified
}
