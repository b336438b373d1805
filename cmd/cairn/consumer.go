package main

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-p2p/cairn/api"
	"github.com/cairn-p2p/cairn/delivery"
)

func newConsumer(a *app) *cobra.Command {
	consumer := &cobra.Command{
		Use:   "consumer",
		Short: "Create durable consumers, and take and settle what they are given",
		Long: `A consumer is a named, durable reader of one topic. It is given every event that
matches at least once, after the events that it follows, and again until it is
settled: acknowledged, given up, or delivered too often. What it remembers is in
the node's data directory, so it survives whatever happens to its clients and to
the node. The CID tells what came twice.`,
	}
	consumer.AddCommand(
		newConsumerCreate(a),
		newConsumerNext(a),
		newConsumerSettle(a, api.Ack, "Acknowledge deliveries: they are done", ""),
		newConsumerSettle(a, api.Nak, "Have deliveries come again, after a delay", ""),
		newConsumerSettle(a, api.Progress, "Say that deliveries are being worked on", `Say that deliveries are being worked on: they come again only once the consumer's
--ack-wait has passed from now.`),
		newConsumerSettle(a, api.Term, "Give deliveries up: they never come again", `Give deliveries up: they never come again. With --reason they are listed as dead
letters, from which 'cairn consumer requeue' takes them.`),
		newConsumerList(a),
		a.consumerVerb("info NAME", "Say where a consumer stands", func(ctx context.Context, c *api.Client, name string) error {
			return a.printConsumer(c.Consumer(ctx, name))
		}),
		a.consumerVerb("dead NAME", "List a consumer's dead letters, with the reason", func(ctx context.Context, c *api.Client, name string) error {
			return printRows(a, c.Dead(ctx, name, ""), deadTable())
		}),
		a.consumerVerb("suppressed NAME", "List the events that the node's validators keep from a consumer, with the reason",
			func(ctx context.Context, c *api.Client, name string) error {
				return printRows(a, c.Suppressed(ctx, name, ""), suppressedTable())
			}),
		newConsumerRequeue(a),
		newConsumerReset(a),
		a.consumerVerb("rm NAME", "Forget a consumer and all that it remembers; the events stay", func(ctx context.Context, c *api.Client, name string) error {
			return c.RemoveConsumer(ctx, name)
		}),
	)
	return consumer
}

// consumerVerb makes a verb of f whose only argument is a consumer's name.
func (a *app) consumerVerb(use, short string, f func(ctx context.Context, c *api.Client, name string) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
			c, err := a.consumerClient(args[0])
			if err != nil {
				return err
			}
			return f(ctx, c, args[0])
		}),
	}
}

// consumerClient is client for a verb about a consumer, whose name it checks
// first.
func (a *app) consumerClient(name string) (*api.Client, error) {
	if err := delivery.CheckName(name); err != nil {
		return nil, usagef("consumer: %v", err)
	}
	return a.client()
}

func newConsumerCreate(a *app) *cobra.Command {
	var s api.ConsumerSettings
	cmd := &cobra.Command{
		Use:   "create NAME TOPIC",
		Short: "Create a consumer of a topic, and join that",
		Long: `Join a topic, create a consumer of it, and print the consumer's settings. With the
settings that it already has nothing happens; with others it fails.

An event matches if it has any of the tags, where there are any, and is of any of
the publishers. One that is not settled within --ack-wait after its delivery is
delivered again; with --backoff the first time after the first D, the second time
after the second, and so on, the last D repeating. After --max-deliver deliveries
it is a dead letter. While --max-pending are not settled, nothing new comes.

First deliveries are in causal order. With --causal-acks an event comes only once
every event before it that matches is settled; what is concurrent still flows.`,
		Args: cobra.ExactArgs(2),
		RunE: a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			s.Name, s.Topic = args[0], args[1]
			return a.createConsumer(ctx, cmd, s)
		}),
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&s.Tags, "tag", nil, "only events with tag `T` (may be repeated: with any of them)")
	flags.StringArrayVar(&s.Publishers, "publisher", nil, "only events of the publisher with peer id `ID` (may be repeated: of any of them)")
	flags.StringVar(&s.From, "from", api.FromStart, "where to begin: start, now or a `CURSOR`")
	flags.DurationVar(&s.AckWait, "ack-wait", delivery.DefaultAckWait, "deliver again what is not settled in this `duration`")
	flags.IntVar(&s.MaxPending, "max-pending", delivery.DefaultMaxPending, "at most `N` deliveries that are not settled")
	flags.IntVar(&s.MaxDeliver, "max-deliver", 0, "give an event up after `N` deliveries (default: never)")
	flags.DurationSliceVar(&s.BackOff, "backoff", nil, "the `durations` between deliveries of an event, in place of --ack-wait: D,D,…")
	flags.Lookup("backoff").DefValue = "" // not "[]"
	flags.BoolVar(&s.CausalAcks, "causal-acks", false, "deliver an event only when all before it that match are settled")
	return cmd
}

func (a *app) createConsumer(ctx context.Context, cmd *cobra.Command, s api.ConsumerSettings) error {
	switch {
	case s.AckWait == 0: // for which the API has its default
		return usagef("--ack-wait is 0")
	case s.MaxPending == 0:
		return usagef("--max-pending is 0")
	case cmd.Flags().Changed("from") && s.From == "":
		return usagef("--from is empty")
	}
	if err := s.Check(); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	created, err := c.CreateConsumer(ctx, s)
	if err != nil {
		return err
	}
	return a.printObject(created.Settings, settingsFields(created.Settings))
}

func newConsumerNext(a *app) *cobra.Command {
	var batch int
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "next NAME",
		Short: "Print what a consumer is given next",
		Long: `Print what a consumer is given next: the rows of 'cairn query' with the cursor, how
often the event was delivered, and the token that settles this delivery. What is
not settled comes again. With nothing to give, next prints nothing and succeeds.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
			if batch < 1 {
				return usagef("--batch %d is not positive", batch)
			}
			if wait < 0 {
				return usagef("--wait %s is negative", wait)
			}
			c, err := a.consumerClient(args[0])
			if err != nil {
				return err
			}
			return a.next(ctx, c, args[0], batch, wait)
		}),
	}
	cmd.Flags().IntVar(&batch, "batch", 1, "at most `N` events")
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait this `duration` for the first (default: not at all)")
	return cmd
}

func (a *app) next(ctx context.Context, c *api.Client, name string, batch int, wait time.Duration) error {
	first, err := awaitNext(ctx, c, name, batch, wait)
	if err != nil || len(first) == 0 {
		return err
	}
	return printRows(a, moreNext(ctx, c, name, first, batch), consumerDeliveryTable())
}

// awaitNext is Client.Next, which waits for some minutes at most, for any wait.
func awaitNext(ctx context.Context, c *api.Client, name string, batch int, wait time.Duration) ([]api.ConsumerDelivery, error) {
	for end := time.Now().Add(wait); ; wait = time.Until(end) {
		got, err := c.Next(ctx, name, min(batch, api.MaxNext), max(wait, 0))
		if err != nil || len(got) > 0 || !time.Now().Before(end) {
			return got, err
		}
	}
}

// moreNext yields first, and what else is there, up to a batch.
func moreNext(ctx context.Context, c *api.Client, name string, first []api.ConsumerDelivery, batch int) iter.Seq2[api.ConsumerDelivery, error] {
	return func(yield func(api.ConsumerDelivery, error) bool) {
		for got := first; len(got) > 0; {
			for _, d := range got {
				if !yield(d, nil) {
					return
				}
			}
			if batch -= len(got); batch == 0 {
				return
			}
			var err error
			if got, err = c.Next(ctx, name, min(batch, api.MaxNext), 0); err != nil {
				yield(api.ConsumerDelivery{}, err)
			}
		}
	}
}

func newConsumerSettle(a *app, kind, short, long string) *cobra.Command {
	s := api.Settlement{Kind: kind}
	cmd := &cobra.Command{
		Use:   kind + " NAME TOKEN...",
		Short: short,
		Long:  long,
		Args:  cobra.MinimumNArgs(2),
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.settle(ctx, args[0], s, args[1:])
		}),
	}
	switch kind {
	case api.Nak:
		cmd.Flags().DurationVar(&s.Delay, "delay", 0, "come again after this `duration` (default: at once)")
	case api.Term:
		cmd.Flags().StringVar(&s.Reason, "reason", "", "list them as dead letters, with `TEXT`")
	}
	return cmd
}

// settle settles tokens, all that it can, and fails if any was refused.
func (a *app) settle(ctx context.Context, name string, s api.Settlement, tokens []string) error {
	for _, t := range tokens {
		if _, err := delivery.ParseToken(t); err != nil {
			return err
		}
	}
	s.Tokens = tokens[:1]
	if err := s.Check(); err != nil {
		return err
	}
	c, err := a.consumerClient(name)
	if err != nil {
		return err
	}
	var refused []string
	for some := range slices.Chunk(tokens, api.MaxSettle) {
		s.Tokens = some
		settled, err := c.Settle(ctx, name, s)
		if err != nil {
			return err
		}
		refused = append(refused, refusals(settled)...)
	}
	if len(refused) > 0 {
		return fmt.Errorf("%s", strings.Join(refused, "\ncairn: "))
	}
	return nil
}

// refusedBecause says more of why a token is refused.
var refusedBecause = map[string]string{
	delivery.ReasonStale:   "the event was delivered again since, or the consumer reset",
	delivery.ReasonSettled: "the event is acknowledged, given up or dead already",
	delivery.ReasonUnknown: "this consumer never gave it out",
}

// refusals returns a line for each token that was refused.
func refusals(settled []api.Settled) []string {
	var lines []string
	for _, s := range settled {
		if s.Refused != "" {
			lines = append(lines, fmt.Sprintf("token %s is refused: %s: %s", s.Token, s.Refused, refusedBecause[s.Refused]))
		}
	}
	return lines
}

func newConsumerList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the node's consumers",
		Args:  cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			all, err := c.Consumers(ctx)
			if err != nil {
				return err
			}
			return printList(a, all, consumerTable())
		}),
	}
}

// requeuedRow is what 'consumer requeue' prints as JSON.
type requeuedRow struct {
	Requeued int `json:"requeued"`
}

func newConsumerRequeue(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "requeue NAME [CID...]",
		Short: "Have dead letters delivered again, all of them if none is named",
		Args:  cobra.MinimumNArgs(1),
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
			if err := checkCIDs(args[1:]); err != nil {
				return err
			}
			c, err := a.consumerClient(args[0])
			if err != nil {
				return err
			}
			n, err := c.Requeue(ctx, args[0], args[1:])
			if err != nil {
				return err
			}
			return a.printObject(requeuedRow{n}, []field{fieldf("requeued", "%d", n)})
		}),
	}
}

func newConsumerReset(a *app) *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "reset NAME --from start|now|CURSOR",
		Short: "Have a consumer begin anew",
		Long: `Have a consumer begin anew: nothing is pending, dead or suppressed any more, and
every token from before is refused. A consumer needs it when the node's delivery
log is no longer the one that it stands in.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("from") {
				return usagef("--from is required")
			}
			if err := api.CheckFrom(from); err != nil {
				return fmt.Errorf("--from: %w", err)
			}
			c, err := a.consumerClient(args[0])
			if err != nil {
				return err
			}
			return a.printConsumer(c.ResetConsumer(ctx, args[0], from))
		}),
	}
	cmd.Flags().StringVar(&from, "from", "", "where to begin: start, now or a `CURSOR`")
	return cmd
}

func (a *app) printConsumer(c *api.Consumer, err error) error {
	if err != nil {
		return err
	}
	fields := []field{
		{"name", c.Name},
		{"topic", c.Topic},
		{"ack floor", c.AckFloor},
		fieldf("pending", "%d", c.Pending),
		fieldf("waiting", "%d", c.Waiting),
		fieldf("redelivered", "%d", c.Redelivered),
		fieldf("dead", "%d", c.Dead),
		fieldf("suppressed", "%d", c.Suppressed),
		fieldf("lag", "%d", c.Lag),
	}
	return a.printObject(c, append(fields, settingsFields(c.Settings)[2:]...)) // for people, its settings too
}

func settingsFields(s api.ConsumerSettings) []field {
	fields := []field{{"name", s.Name}, {"topic", s.Topic}}
	fields = append(fields, listField("tags", s.Tags)...)
	fields = append(fields, listField("publishers", s.Publishers)...)
	maxDeliver := "unlimited"
	if s.MaxDeliver > 0 {
		maxDeliver = strconv.Itoa(s.MaxDeliver)
	}
	delays := make([]string, len(s.BackOff))
	for i, d := range s.BackOff {
		delays[i] = d.String()
	}
	return append(fields,
		field{"from", s.From},
		field{"ack wait", s.AckWait.String()},
		fieldf("max pending", "%d", s.MaxPending),
		field{"max deliver", maxDeliver},
		field{"backoff", dash(strings.Join(delays, ","))},
		field{"causal acks", yesNo(s.CausalAcks)},
	)
}

func consumerTable() table[api.Consumer] {
	number := func(name string, of func(*api.Consumer) int) column[api.Consumer] {
		return column[api.Consumer]{name, 0, func(c *api.Consumer) string { return strconv.Itoa(of(c)) }}
	}
	return table[api.Consumer]{
		{"NAME", 0, func(c *api.Consumer) string { return c.Name }},
		{"TOPIC", 0, func(c *api.Consumer) string { return c.Topic }},
		number("PENDING", func(c *api.Consumer) int { return c.Pending }),
		number("WAITING", func(c *api.Consumer) int { return c.Waiting }),
		number("REDELIVERED", func(c *api.Consumer) int { return c.Redelivered }),
		number("DEAD", func(c *api.Consumer) int { return c.Dead }),
		number("SUPPRESSED", func(c *api.Consumer) int { return c.Suppressed }),
		{"LAG", 0, func(c *api.Consumer) string { return strconv.FormatUint(c.Lag, 10) }},
		{"ACK FLOOR", 0, func(c *api.Consumer) string { return dash(c.AckFloor) }},
	}
}

func consumerDeliveryTable() table[api.ConsumerDelivery] {
	t := table[api.ConsumerDelivery]{
		{"TOKEN", 20, func(d *api.ConsumerDelivery) string { return d.Token }},
		{"COUNT", 5, func(d *api.ConsumerDelivery) string { return strconv.Itoa(d.Count) }},
	}
	return append(t, eventTable(func(d *api.ConsumerDelivery) *api.Event { return &d.Event })...)
}

func deadTable() table[api.DeadLetter] {
	return table[api.DeadLetter]{
		{"CID", 59, func(d *api.DeadLetter) string { return d.CID }},
		{"DELIVERED", 9, func(d *api.DeadLetter) string { return strconv.Itoa(d.Count) }},
		{"TIME", len(timeLayout), func(d *api.DeadLetter) string { return d.Time.UTC().Format(timeLayout) }},
		{"REASON", 0, func(d *api.DeadLetter) string { return d.Reason }},
	}
}

func suppressedTable() table[api.SuppressedEvent] {
	return table[api.SuppressedEvent]{
		{"CID", 59, func(s *api.SuppressedEvent) string { return s.CID }},
		{"CURSOR", 15, func(s *api.SuppressedEvent) string { return s.Cursor }},
		{"REASON", 0, func(s *api.SuppressedEvent) string { return s.Reason }},
	}
}
