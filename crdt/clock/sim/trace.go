package sim

import (
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

func (w *world) tracef(format string, args ...any) {
	if w.cfg.Trace != nil {
		fmt.Fprintf(w.cfg.Trace, "%4d  "+format+"\n", append([]any{w.step}, args...)...)
	}
}

// name returns what the trace calls an event: publisher, seq and the end of its
// CID. An event is introduced by naming it once with itself.
func (w *world) name(id cid.Cid, introduced ...*types.Event) string {
	for _, e := range introduced {
		text := id.String()
		w.names[id] = fmt.Sprintf("%s/%d.%s", publisherName(e.Publisher), e.Seq, text[len(text)-4:])
	}
	if name, ok := w.names[id]; ok {
		return name
	}
	return id.String()
}

func publisherName(p types.Publisher) string {
	switch n := numberOf(p); {
	case n >= firstForger:
		return fmt.Sprintf("forger%d", n-firstForger)
	case n >= firstStranger:
		return fmt.Sprintf("stranger%d", n-firstStranger)
	default:
		return fmt.Sprintf("r%d", n)
	}
}

// nameEvents names some events, if anyone is to read it.
func (w *world) nameEvents(events []*types.Event) string {
	if w.cfg.Trace == nil {
		return ""
	}
	names := make([]string, 0, len(events))
	for _, e := range events {
		names = append(names, w.name(e.CID))
	}
	return strings.Join(names, " ")
}

func (w *world) traceCommit(r *replica, b *types.Batch, failed, persisted bool) {
	result := "commits"
	switch {
	case failed && persisted:
		result = "is told that a commit failed that persisted:"
	case failed:
		result = "fails to commit"
	}
	w.tracef("r%d %s %d.. %s; %d heads more, %d less", r.id, result, b.First, w.nameEvents(b.Events), len(b.AddHeads), len(b.DropHeads))
}
