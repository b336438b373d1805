package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cairn-p2p/cairn/api"
	"github.com/cairn-p2p/cairn/client"
	"github.com/cairn-p2p/cairn/keyfile"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// brokerFlags say who serves a light client: the node of --api, or a broker over
// libp2p.
type brokerFlags struct {
	addr    string
	network string
}

func (f *brokerFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.addr, "broker", "", "through the broker at `MULTIADDR`, over libp2p, in place of the node at --api")
	flags.StringVar(&f.network, "network", node.DefaultNetwork, "with --broker, the `NAME` of its network")
}

// closingBroker is a broker that is given up with Close.
type closingBroker interface {
	client.Broker
	Close() error
}

// apiBroker is the node at --api as a broker.
type apiBroker struct{ *api.Client }

// Close gives up the connection.
func (b apiBroker) Close() error {
	b.Client.Close()
	return nil
}

// broker connects to the broker that serves the topic. A node joins it.
func (a *app) broker(ctx context.Context, f brokerFlags, topic string) (closingBroker, error) {
	if f.addr != "" {
		return client.Dial(ctx, f.addr, f.network)
	}
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	_, err = c.Join(ctx, topic)
	return apiBroker{c}, err
}

// warn says on stderr what does not end the verb.
func (a *app) warn(err error) {
	fmt.Fprintf(a.stderr, "cairn: warning: %v\n", err)
	a.evidence(err)
}

// evidence prints what proves a violation, on one line.
func (a *app) evidence(err error) {
	var v *client.Violation
	if !errors.As(err, &v) {
		return
	}
	if text, err := marshal(v); err == nil {
		fmt.Fprintf(a.stderr, "evidence: %s\n", text)
	}
}

// signedFlags are those of pub that make it a light client.
type signedFlags struct {
	broker        brokerFlags
	key           string
	adopt, resend bool
}

func (f *signedFlags) add(flags *pflag.FlagSet) {
	f.broker.add(flags)
	flags.StringVar(&f.key, "key", "", "sign with the key in `FILE` ('cairn key new FILE'), whose state is in FILE.state")
	flags.BoolVar(&f.adopt, "adopt", false, "with --key: go on behind the key's latest event at the broker, although FILE.state does not know it, and give up what was not sent")
	flags.BoolVar(&f.resend, "resend", false, "with --key: submit what an earlier run signed and could not, and publish nothing new")
}

func (f *signedFlags) check(args []string, lines bool) error {
	switch {
	case f.key == "" && (f.broker.addr != "" || f.adopt || f.resend):
		return usagef("--broker, --adopt and --resend need --key: a node signs with its own")
	case f.resend && (lines || len(args) == 2):
		return usagef("--resend publishes nothing new")
	case f.broker.addr != "":
		_, err := client.ParseBroker(f.broker.addr)
		return err
	}
	return nil
}

// pubSigned publishes events that are signed here.
func (a *app) pubSigned(ctx context.Context, f signedFlags, args, tags []string, lines bool) error {
	ref, err := node.ParseTopicRef(args[0])
	if err != nil {
		return err
	}
	var draft *client.Draft
	if !lines && !f.resend {
		payload, err := a.payload(args[1:])
		if err != nil {
			return err
		}
		draft = &client.Draft{Payload: payload, Tags: tags}
		if err := (api.Draft{Payload: payload, Tags: tags}).Check(); err != nil {
			return err
		}
	}
	p, err := client.OpenPublisher(f.key)
	if err != nil {
		return err
	}
	defer p.Close() //nolint:errcheck // what it may lose is sent once more, and taken once
	if !keyfile.Private(f.key) {
		a.warn(fmt.Errorf("others can read the key in %s; chmod it to 0600", f.key))
	}
	var lost error
	p.Warn = func(err error) {
		if v := new(client.Violation); errors.As(err, &v) {
			lost = err // told in the end
			return
		}
		a.warn(err)
	}
	b, err := a.broker(ctx, f.broker, args[0])
	if err != nil {
		return err
	}
	defer b.Close() //nolint:errcheck // the verb is over
	s := signedPub{app: a, p: p, b: b, topic: ref.ID}
	if err := s.begin(ctx, f); err != nil {
		return err
	}
	switch {
	case lines:
		err = s.lines(ctx, tags)
	case draft != nil:
		err = s.publish(ctx, *draft)
	}
	return errors.Join(err, lost)
}

// signedPub is one run of pub --key.
type signedPub struct {
	app   *app
	p     *client.Publisher
	b     client.Broker
	topic types.TopicID
}

// begin adopts, if that was asked for, and sends what was signed earlier.
func (s *signedPub) begin(ctx context.Context, f signedFlags) error {
	if f.adopt {
		given, err := s.p.Adopt(ctx, s.b, s.topic)
		if err != nil {
			return err
		}
		for _, e := range given {
			s.app.warn(fmt.Errorf("gave up %s, seq %d, which was never acknowledged", e.CID, e.Seq))
		}
	}
	s.p.Stored = func(events []*types.Event) error {
		for _, e := range events {
			s.app.warn(fmt.Errorf("sent %s, seq %d, which an earlier run signed", e.CID, e.Seq))
		}
		return nil
	}
	if f.resend {
		s.p.Stored = s.print
	}
	_, err := s.p.Resend(ctx, s.b, s.topic)
	s.p.Stored = s.print
	return err
}

func (s *signedPub) publish(ctx context.Context, drafts ...client.Draft) error {
	_, err := s.p.Publish(ctx, s.b, s.topic, drafts...)
	return err
}

func (s *signedPub) print(events []*types.Event) error {
	cids := make([]string, len(events))
	for i, e := range events {
		cids[i] = e.CID.String()
	}
	return s.app.printCIDs(cids)
}

// lines publishes the lines of stdin, those that have come together.
func (s *signedPub) lines(ctx context.Context, tags []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := newLineReader(s.app.stdin, tags)
	go lines.run(ctx) // a read of stdin that never ends outlives it
	for batch := range lines.batches {
		drafts := make([]client.Draft, len(batch))
		for i, d := range batch {
			drafts[i] = client.Draft{Payload: d.Payload, Tags: d.Tags}
		}
		if err := s.publish(ctx, drafts...); err != nil {
			return err
		}
	}
	return lines.err
}

// verifyFlags are those of sub that make it a light client.
type verifyFlags struct {
	broker           brokerFlags
	verify           bool
	seen             string
	tags, publishers []string
}

func (f *verifyFlags) add(flags *pflag.FlagSet) {
	f.broker.add(flags)
	flags.BoolVar(&f.verify, "verify", false, "verify every event here, trusting neither node nor broker; what breaks the protocol is 1, with the evidence on stderr")
	flags.StringVar(&f.seen, "seen", "", "with --verify: keep the set of seen events in `FILE`, and go on behind the last event in it")
	flags.StringArrayVar(&f.tags, "tag", nil, "with --verify: only events with the tag `T` (may be repeated: any of them)")
	flags.StringArrayVar(&f.publishers, "publisher", nil, "with --verify: only events of the publisher `ID` (may be repeated: any of them)")
}

// subscription checks the flags and returns what they ask for.
func (f *verifyFlags) subscription(topic, from string) (client.Subscription, error) {
	var s client.Subscription
	if !f.verify {
		if f.broker.addr != "" || f.seen != "" || len(f.tags)+len(f.publishers) > 0 {
			return s, usagef("--broker, --seen, --tag and --publisher need --verify")
		}
		return s, nil
	}
	if f.broker.addr != "" {
		if _, err := client.ParseBroker(f.broker.addr); err != nil {
			return s, err
		}
	}
	ref, err := node.ParseTopicRef(topic)
	if err != nil {
		return s, err
	}
	s.Topic, s.Tags = ref.ID, f.tags
	for _, text := range f.publishers {
		p, err := types.ParsePublisher(text)
		if err != nil {
			return s, fmt.Errorf("--publisher: %w", err)
		}
		s.Publishers = append(s.Publishers, p)
	}
	switch from {
	case api.FromStart:
	case api.FromNow:
		s.Now = true
	default:
		s.After, err = types.ParseCursor(from)
	}
	return s, err
}

// verifiedRow is what sub --verify prints.
type verifiedRow struct {
	api.Delivery
	Unverified []string `json:"unverified"` // links to events that were not seen
}

// subVerified prints verified events until interrupted.
func (a *app) subVerified(ctx context.Context, topic string, f verifyFlags, s client.Subscription, count uint64) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := a.followVerified(ctx, topic, f, s, count)
	if errors.Is(err, context.Canceled) || errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func (a *app) followVerified(ctx context.Context, topic string, f verifyFlags, s client.Subscription, count uint64) (err error) {
	seen, err := client.OpenSeen(f.seen, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, seen.Close()) }()
	b, err := a.broker(ctx, f.broker, topic)
	if err != nil {
		return err
	}
	defer b.Close() //nolint:errcheck // the verb is over
	v := &verifiedPrinter{app: a, count: count}
	v.rows = printer[verifiedRow]{w: a.stdout, format: a.output, table: verifiedTable()}
	for wait := retryFirst; ; wait = min(2*wait, retryLongest) {
		before := v.printed
		err := v.subscribe(ctx, b, s, seen)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !away(err) {
			return err
		}
		if v.printed > before {
			wait = retryFirst
		}
		if wait == retryFirst {
			fmt.Fprintf(a.stderr, "cairn: %v; waiting to resume\n", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// away reports whether err says that the broker is not there now, but may come
// back.
func away(err error) bool {
	for _, target := range []error{client.ErrUnreachable, client.ErrBusy, api.ErrUnreachable, types.ErrClosed} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

type verifiedPrinter struct {
	app     *app
	rows    printer[verifiedRow]
	printed uint64
	count   uint64 // rows to print; 0: no bound
}

func (v *verifiedPrinter) subscribe(ctx context.Context, b client.Broker, s client.Subscription, seen *client.Seen) error {
	for d, err := range client.Subscribe(ctx, b, s, seen) {
		if err != nil {
			return err
		}
		if d.Fork.Defined() {
			v.app.warn(fmt.Errorf("fork: %s and %s are both seq %d of %s", d.Fork, d.CID, d.Seq, d.Publisher))
		}
		if d.Gap {
			v.app.warn(fmt.Errorf("gap: %s is seq %d of %s, whose seq %d did not come before it", d.CID, d.Seq, d.Publisher, d.Seq-1))
		}
		row := verifiedRow{Delivery: api.Delivery{Event: api.NewEvent(d.Genesis.Name, d.Event), Cursor: d.Cursor.String()}, Unverified: []string{}}
		for _, l := range d.Unverified {
			row.Unverified = append(row.Unverified, l.String())
		}
		if err := v.rows.row(row); err != nil {
			return err
		}
		if v.printed++; v.printed == v.count {
			return cmp.Or(seen.Take(d), errEnough)
		}
	}
	return nil
}

func verifiedTable() table[verifiedRow] {
	cursor := column[verifiedRow]{"CURSOR", 15, func(r *verifiedRow) string { return r.Cursor }}
	unverified := column[verifiedRow]{"UNVERIFIED", 10, func(r *verifiedRow) string { return fmt.Sprint(len(r.Unverified)) }}
	return append(table[verifiedRow]{cursor, unverified}, eventTable(func(r *verifiedRow) *api.Event { return &r.Event })...)
}

// newKeyNew makes the key of a light client.
func newKeyNew(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "new FILE",
		Short: "Make a key for pub --key, in a file that must not be there, and show it",
		Args:  cobra.ExactArgs(1),
		RunE: a.verb(func(_ context.Context, _ *cobra.Command, args []string) error {
			if _, err := os.Lstat(args[0]); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w: %s is there already", types.ErrInvalidArgument, args[0])
			}
			key, err := keyfile.New()
			if err == nil {
				err = keyfile.Write(args[0], key)
			}
			if err != nil {
				return fmt.Errorf("write key: %w", err)
			}
			p := types.PublisherOf(key)
			row := keyRow{PeerID: p.String(), PublicKey: hex.EncodeToString(p[:])}
			return a.printObject(row, []field{{"peer id", row.PeerID}, {"public key", row.PublicKey}})
		}),
	}
}
