package node_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/cairn-p2p/cairn/delivery"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// Embedding a node takes about ten lines: open it, take a topic, append, and
// read what comes.
func Example() {
	ctx := context.Background()
	n, err := node.Open(ctx, node.Config{Listen: []string{"/ip4/127.0.0.1/tcp/0"}}) // in memory
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close() //nolint:errcheck // an example
	topic, err := n.Topic(ctx, "greetings")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := topic.Append(ctx, []byte("hello")); err != nil {
		log.Fatal(err)
	}
	for event, err := range topic.Subscribe(ctx, types.Cursor{}) { // from the start
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(event.Payload), event.Height)
		break
	}
	// Output: hello 1
}

// Two nodes that know each other end up with the same topic.
func ExampleNode_Connect() {
	ctx := context.Background()
	var topics []*node.Topic
	var nodes []*node.Node
	for range 2 {
		n, err := node.Open(ctx, node.Config{Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
		if err != nil {
			log.Fatal(err)
		}
		defer n.Close() //nolint:errcheck // an example
		topic, err := n.Topic(ctx, "greetings")
		if err != nil {
			log.Fatal(err)
		}
		nodes, topics = append(nodes, n), append(topics, topic)
	}
	if _, err := topics[0].Append(ctx, []byte("written before they met")); err != nil {
		log.Fatal(err)
	}
	if err := nodes[1].Connect(ctx, nodes[0].Addrs()[0]); err != nil {
		log.Fatal(err)
	}
	status, err := topics[1].Wait(ctx, func(s node.Status) bool { return s.State == node.Synced && s.Events > 0 })
	fmt.Println(status.State, status.Events, err)
	// Output: synced 1 <nil>
}

// A query reads a topic in canonical order, which is the same at every node.
func ExampleTopic_Query() {
	ctx := context.Background()
	n, err := node.Open(ctx, node.Config{Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close() //nolint:errcheck // an example
	topic, err := n.Topic(ctx, "log")
	if err != nil {
		log.Fatal(err)
	}
	for _, level := range []string{"info", "error", "info"} {
		if _, err := topic.Append(ctx, []byte("something happened"), level); err != nil {
			log.Fatal(err)
		}
	}
	for event, err := range topic.Query(types.Query{Tag: "info", Reverse: true}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Height, event.Tags)
	}
	// Output:
	// 3 [info]
	// 1 [info]
}

// A consumer remembers what was acknowledged: what was not comes again.
func ExampleNode_CreateConsumer() {
	ctx := context.Background()
	n, err := node.Open(ctx, node.Config{Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close() //nolint:errcheck // an example
	consumer, err := n.CreateConsumer(ctx, "greetings", delivery.Settings{Name: "printer", AckWait: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	topic, err := n.Find("greetings")
	if err != nil {
		log.Fatal(err)
	}
	for _, payload := range []string{"hello", "goodbye"} {
		if _, err := topic.Append(ctx, []byte(payload)); err != nil {
			log.Fatal(err)
		}
	}
	for event, err := range consumer.Stream(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(event.Payload), event.Count)
		if event.Seq == 1 && event.Count == 1 { // not now
			err = consumer.Nak(ctx, 0, event.Token)
		} else {
			err = consumer.Ack(ctx, event.Token)
		}
		if err != nil {
			log.Fatal(err)
		}
		if event.Seq == 2 {
			break
		}
	}
	// Output:
	// hello 1
	// hello 2
	// goodbye 1
}
