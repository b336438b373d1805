package node

import (
	"sync"
	"testing"

	"github.com/cairn-p2p/cairn/types"
)

// register is a directory that remembers what it was told last.
type register struct {
	mu    sync.Mutex
	lists map[types.TopicID]bool
}

func (r *register) tell(topic types.TopicID, listed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lists[topic] = listed
}

func (r *register) Provide(topic types.TopicID)   { r.tell(topic, true) }
func (r *register) Unprovide(topic types.TopicID) { r.tell(topic, false) }

func (r *register) want(t *testing.T, topic *Topic, listed bool, when string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got, told := r.lists[topic.id]; !told || got != listed {
		t.Errorf("%s: listed %v (told: %v), want %v", when, got, told, listed)
	}
}

// A topic is listed as replicated here while it is, and not once it was left.
func TestWhatIsListed(t *testing.T) {
	r := &register{lists: map[types.TopicID]bool{}}
	n := open(t, loopback(""))
	n.directory = r
	topic := join(t, n, "topic")
	r.want(t, topic, true, "joined")
	if err := n.Leave(t.Context(), "topic"); err != nil {
		t.Fatal(err)
	}
	r.want(t, topic, false, "left")
	topic = join(t, n, "topic")
	r.want(t, topic, true, "joined again")
}
