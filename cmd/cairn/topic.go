package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-p2p/cairn/api"
	"github.com/cairn-p2p/cairn/node"
)

func newTopic(a *app) *cobra.Command {
	topic := &cobra.Command{Use: "topic", Short: "Create, join, leave and inspect topics"}
	topic.AddCommand(
		a.topicVerb("join TOPIC", "Begin to replicate a topic", func(ctx context.Context, c *api.Client, topic string) error {
			return a.printTopic(c.Join(ctx, topic))
		}),
		a.topicVerb("leave TOPIC", "Stop replicating a topic; its events stay", func(ctx context.Context, c *api.Client, topic string) error {
			return a.printTopic(c.Leave(ctx, topic))
		}),
		a.topicVerb("heads TOPIC", "Print a topic's heads", func(ctx context.Context, c *api.Client, topic string) error {
			h, err := c.Heads(ctx, topic)
			if err != nil {
				return err
			}
			return a.printObject(h, headsFields(h))
		}),
		a.topicVerb("status TOPIC", "Say whether a topic is in sync, and if not, why", func(ctx context.Context, c *api.Client, topic string) error {
			return a.printTopicStatus(c.TopicStatus(ctx, topic))
		}),
		newTopicCreate(a),
		newTopicList(a),
		newTopicWait(a),
		newTopicGraph(a),
	)
	return topic
}

// topicVerb makes a verb of f whose only argument is a topic.
func (a *app) topicVerb(use, short string, f func(ctx context.Context, c *api.Client, topic string) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
			c, err := a.topicClient(args[0])
			if err != nil {
				return err
			}
			return f(ctx, c, args[0])
		}),
	}
}

func (a *app) printTopic(t *api.Topic, err error) error {
	if err != nil {
		return err
	}
	if a.output != formatTable {
		return a.printObject(t, nil)
	}
	return printList(a, []api.Topic{*t}, topicTable())
}

func newTopicList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the topics that the node holds",
		Args:  cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			topics, err := c.Topics(ctx)
			if err != nil {
				return err
			}
			return printList(a, topics, topicTable())
		}),
	}
}

// createdRow is what 'topic create' prints as JSON.
type createdRow struct {
	Topic   string `json:"topic"`
	TopicID string `json:"topic_id"`
}

func newTopicCreate(a *app) *cobra.Command {
	var owner string
	var writers []string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a restricted topic, which only its owner and writers publish to",
		Long: `Make a new topic that only its owner and writers publish to, join it, and print
the "id:..." that refers to it, here and on every other node: a bare NAME is
always the open topic of that name. Publishers are written as 'cairn key show'
prints them.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
			if err := node.CheckNewName(args[0]); err != nil {
				return err
			}
			if _, err := api.ParseWriters(owner, writers); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			t, err := c.Create(ctx, args[0], owner, writers)
			if err != nil {
				return err
			}
			if a.output == formatTable {
				return write(a.stdout, []byte("id:"+t.TopicID+"\n"))
			}
			return a.printObject(createdRow{t.Topic, t.TopicID}, nil)
		}),
	}
	cmd.Flags().StringArrayVar(&writers, "writer", nil, "the publisher `ID` may publish (may be repeated)")
	cmd.Flags().StringVar(&owner, "owner", "", "the topic's owner, a publisher `ID` (default: the node's key)")
	return cmd
}

func newTopicWait(a *app) *cobra.Command {
	var until api.Until
	var cmd *cobra.Command
	cmd = a.topicVerb("wait TOPIC", "Wait until a topic is in sync or has so many events, then print its status",
		func(ctx context.Context, c *api.Client, topic string) error {
			if !cmd.Flags().Changed("events") && !cmd.Flags().Changed("synced") {
				until.Synced = true
			}
			s, err := c.Wait(ctx, topic, until)
			if errors.Is(err, context.DeadlineExceeded) {
				return explainWait(c, topic, err)
			}
			return a.printTopicStatus(s, err)
		})
	cmd.Flags().Uint64Var(&until.Events, "events", 0, "until it has at least `N` events")
	cmd.Flags().BoolVar(&until.Synced, "synced", false, "until its state is synced (the default without --events)")
	return cmd
}

// explainTime bounds the question why a wait was in vain.
const explainTime = time.Second

// explainWait adds to err, the end of a wait, where the topic stands.
func explainWait(c *api.Client, topic string, err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), explainTime)
	defer cancel()
	s, statusErr := c.TopicStatus(ctx, topic)
	if statusErr != nil {
		return err
	}
	return fmt.Errorf("%q has %d events and is %s (%s): %w", s.Topic, s.Events, s.State, s.Reason, context.DeadlineExceeded)
}
