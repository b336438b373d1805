package e2e_test

import (
	"context"
	"fmt"
	"log"

	"github.com/cairn-p2p/cairn/client"
	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/delivery"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// Two relays, a broker, two local subscribers and a remote one: the figure of
// docs/delivery-example.md.
func Example() {
	ctx := context.Background()
	open := func(cfg node.Config, known ...*node.Node) *node.Node {
		cfg.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
		for _, n := range known {
			cfg.Bootstrap = append(cfg.Bootstrap, n.Addrs()[0])
		}
		n, err := node.Open(ctx, cfg)
		if err != nil {
			log.Fatal(err)
		}
		return n
	}

	// The writer and the broker know a relay each, which forward gossip, and bring
	// them together.
	relay1 := open(node.Config{Role: node.RoleRelay})
	defer relay1.Close()
	relay2 := open(node.Config{Role: node.RoleRelay}, relay1)
	defer relay2.Close()
	writer := open(node.Config{}, relay1)
	defer writer.Close()

	// The broker's rules: an order has a quantity.
	schema, err := delivery.ParseSchema([]byte(`{"type": "object", "required": ["qty"]}`))
	if err != nil {
		log.Fatal(err)
	}
	rules := &delivery.Rules{Schema: schema}
	broker := open(node.Config{
		Role:      node.RoleBroker,
		Validator: func(types.TopicID) delivery.Validator { return rules },
	}, relay2)
	defer broker.Close()

	// The local subscribers: one of all orders, one of the urgent ones.
	ledger, err := broker.CreateConsumer(ctx, "orders", delivery.Settings{Name: "ledger", CausalAcks: true})
	if err != nil {
		log.Fatal(err)
	}
	alarm, err := broker.CreateConsumer(ctx, "orders", delivery.Settings{Name: "alarm", Tags: []string{"urgent"}})
	if err != nil {
		log.Fatal(err)
	}

	// Three events, the second of which is no order.
	orders, err := writer.Topic(ctx, "orders")
	if err != nil {
		log.Fatal(err)
	}
	for _, draft := range []crdt.Draft{
		{Payload: []byte(`{"qty": 2}`)},
		{Payload: []byte("pay me")},
		{Payload: []byte(`{"qty": 70}`), Tags: []string{"urgent"}},
	} {
		if _, err := orders.Append(ctx, draft.Payload, draft.Tags...); err != nil {
			log.Fatal(err)
		}
	}

	for _, c := range []*delivery.Consumer{ledger, alarm} {
		if err := take(ctx, c); err != nil {
			log.Fatal(err)
		}
	}
	for s, err := range ledger.Suppressed(0) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("suppressed:", s.Reason)
	}

	// The remote subscriber has no node. It verifies all three events itself.
	if err := remote(ctx, broker.Addrs()[0], orders.ID(), 3); err != nil {
		log.Fatal(err)
	}
	_, err = relay1.Topic(ctx, "orders")
	fmt.Println("relay:", err)

	// Output:
	// ledger: {"qty": 2}
	// ledger: {"qty": 70}
	// alarm: {"qty": 70}
	// suppressed: payload: it is no JSON: invalid character 'p' looking for beginning of value
	// remote: {"qty": 2}
	// remote: pay me
	// remote: {"qty": 70}
	// relay: join: the node is a relay and keeps no topic
}

// take acknowledges what a local subscriber is given, until the last order.
func take(ctx context.Context, c *delivery.Consumer) error {
	for d, err := range c.Stream(ctx) {
		if err != nil {
			return err
		}
		fmt.Printf("%s: %s\n", c.Settings().Name, d.Payload)
		if err := c.Ack(ctx, d.Token); err != nil {
			return err
		}
		if len(d.Tags) > 0 {
			break
		}
	}
	return nil
}

// remote subscribes at a broker without trusting it.
func remote(ctx context.Context, addr string, topic types.TopicID, events int) error {
	b, err := client.Dial(ctx, addr, node.DefaultNetwork)
	if err != nil {
		return err
	}
	defer b.Close()
	s := client.Subscription{Topic: topic}
	seen, err := client.OpenSeen("", s)
	if err != nil {
		return err
	}
	defer seen.Close()
	for d, err := range client.Subscribe(ctx, b, s, seen) {
		if err != nil {
			return err
		}
		fmt.Printf("remote: %s\n", d.Payload)
		if events--; events == 0 {
			break
		}
	}
	return nil
}
