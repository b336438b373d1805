package syncer

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// Stats counts what a syncer has done since it was made.
type Stats struct {
	BytesIn, BytesOut uint64 // of the protocol's streams, requests and answers alike
	FramesOut         uint64 // of requests and answers
	Failed            uint64 // transfers that ended with an error
	Events            uint64 // that came in answers
	Redundant         uint64 // of these, to no use: integrated here already when they came, or to come once more
	Streams           int    // served now
	PeerStreams       int    // the most that were served to one peer at a time
}

// counters are the live form of Stats.
type counters struct{ in, out, frames, failed, events, redundant atomic.Uint64 }

// Stats returns what was done so far.
func (s *Syncer) Stats() Stats {
	redundant := s.count.redundant.Load() // first: it is never more than the events counted before it
	serving, most := s.quota.serving()
	return Stats{
		BytesIn: s.count.in.Load(), BytesOut: s.count.out.Load(), FramesOut: s.count.frames.Load(), Failed: s.count.failed.Load(),
		Events: s.count.events.Load(), Redundant: redundant,
		Streams: serving, PeerStreams: most,
	}
}

// counted is a stream whose bytes are counted, and the frames that are written
// to it, each in one call of Write.
type counted struct {
	stream
	count *counters
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.stream.Read(b)
	c.count.in.Add(uint64(n))
	return n, err
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.stream.Write(b)
	c.count.out.Add(uint64(n))
	c.count.frames.Add(1)
	return n, err
}

// Brief is a topic's TopicStatus in a few words.
type Brief struct {
	Topic   types.TopicID
	State   State
	Missing int       // heads that replicas claim and have not served
	Since   time.Time // when the oldest of them was first claimed; zero: none
}

// surveyStep is how many topics a Survey looks at while it holds up others:
// about a millisecond.
const surveyStep = 512

// Survey returns a Brief of every topic, each as of some moment during the
// call. A failure of Local leaves heads among the missing that are no longer.
func (s *Syncer) Survey() []Brief {
	s.mu.Lock()
	topics := make([]*topic, 0, s.digest.len())
	var doubtful []types.TopicID
	for t := range s.digest.under(trie.Prefix{}) {
		topics = append(topics, t)
		if t.trouble != nil && len(t.trouble.claims) > 0 {
			doubtful = append(doubtful, t.id)
		}
	}
	s.mu.Unlock()
	for _, id := range doubtful {
		s.dropIntegrated(id) //nolint:errcheck // said above
	}
	briefs := make([]Brief, 0, len(topics))
	for part := range slices.Chunk(topics, surveyStep) {
		briefs = s.survey(briefs, part)
	}
	return briefs
}

func (s *Syncer) survey(briefs []Brief, topics []*topic) []Brief {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range topics {
		if t.removed { // meanwhile
			continue
		}
		st := t.status()
		b := Brief{Topic: t.id, Missing: len(st.Missing)}
		b.State, _ = s.judge(t, st)
		if len(st.Missing) > 0 {
			b.Since = st.Missing[0].Since // they are sorted
		}
		briefs = append(briefs, b)
	}
	return briefs
}
