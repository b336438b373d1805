package clock_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt/clock"
	"github.com/cairn-p2p/cairn/types"
)

// stage is where a scenario plays: replicas and events, by name.
type stage struct {
	topic  types.TopicID
	actors map[string]*actor
	limits clock.Limits
	events map[string]*types.Event
	names  map[string]string // of events, by the text of the CID
	now    int64
	out    strings.Builder
}

// actor is one replica. After each sentence its effects are taken and obeyed.
type actor struct {
	name  string
	store *ledger
	clock *clock.Clock
}

func newStage() *stage {
	genesis, err := types.NewOpen("stage")
	if err != nil {
		panic(err)
	}
	return &stage{
		topic:  genesis.ID(),
		actors: map[string]*actor{},
		limits: clock.DefaultLimits(),
		events: map[string]*types.Event{},
		names:  map[string]string{genesis.ID().String(): "another topic"},
	}
}

func key(name string) types.Publisher { return sha256.Sum256([]byte(name)) }

// play acts one sentence and returns what comes of it.
func (st *stage) play(sentence string) (string, error) {
	st.now++
	st.out.Reset()
	w := strings.Fields(sentence)
	if len(w) < 2 {
		return "", errors.New("a sentence has a subject and a verb")
	}
	args := parse(w[2:])
	if err := st.act(w[0], w[1], args); err != nil {
		return "", err
	}
	for word := range args.options {
		if !slices.Contains(verbs[w[1]], word) {
			return "", fmt.Errorf("%s has no %q", w[1], word)
		}
	}
	return st.out.String(), nil
}

// verbs are the words of a scenario, with the words that may follow each.
var verbs = map[string][]string{
	"are":      {"pending", "neighbour", "publisher", "ticks", "invalid"}, // clock limits
	"starts":   nil,                                                       // alice starts
	"appends":  {"after", "size"},                                         // alice appends a1..a3 size 1000 after b1
	"signs":    {"on", "height", "seq", "dangling", "size", "in"},         // mallory signs m1 on a1 height 7: it is heard by nobody yet
	"hears":    {"from"},                                                  // bob hears a1 a2 from alice: gossip
	"fetches":  {"from"},                                                  // bob fetches a1 from alice: an answer of Events
	"pulls":    {"from"},                                                  // bob pulls from alice: her log, oldest first
	"ticks":    {"times"},                                                 // bob ticks times 3
	"evicts":   nil,                                                       // bob evicts 400
	"crashes":  nil,                                                       // bob crashes, and starts again from its store
	"restores": nil,                                                       // bob restores 2: its store as it was after 2 events
	"resumes":  nil,                                                       // bob resumes
	"links":    nil,                                                       // a1 links: to what?
	"equals":   nil,                                                       // alice equals bob: does she?
	"holds":    nil,                                                       // bob holds elsewhere: an event of another topic
}

// arguments are the words behind the verb: names first, then options.
type arguments struct {
	names   []string
	options map[string][]string
}

func parse(words []string) arguments {
	a := arguments{options: map[string][]string{}}
	option := ""
	for _, word := range words {
		isOption := false
		for _, options := range verbs {
			isOption = isOption || slices.Contains(options, word)
		}
		switch {
		case isOption:
			option = word
			a.options[word] = nil
		case option == "":
			a.names = append(a.names, expand(word)...)
		default:
			a.options[option] = append(a.options[option], expand(word)...)
		}
	}
	return a
}

func (a arguments) number(option string, otherwise int) int {
	if words := a.options[option]; len(words) == 1 {
		n, err := strconv.Atoi(words[0])
		if err != nil {
			panic(err)
		}
		return n
	}
	return otherwise
}

func (a arguments) word(option string) string { return strings.Join(a.options[option], " ") }

// expand turns a1..a3 into a1 a2 a3.
func expand(word string) []string {
	first, last, ok := strings.Cut(word, "..")
	if !ok {
		return []string{word}
	}
	prefix, from := split(first)
	_, to := split(last)
	var names []string
	for n := from; n <= to; n++ {
		names = append(names, fmt.Sprint(prefix, n))
	}
	return names
}

// split takes the number from the end of a name.
func split(name string) (prefix string, n int) {
	prefix = strings.TrimRight(name, "0123456789")
	n, err := strconv.Atoi(name[len(prefix):])
	if err != nil {
		return name, -1
	}
	return prefix, n
}

// collapse turns a1 a2 a3 into a1..a3.
func collapse(names []string) string {
	var words []string
	for i := 0; i < len(names); {
		prefix, from := split(names[i])
		j := i + 1
		for ; j < len(names); j++ {
			if p, n := split(names[j]); from < 0 || p != prefix || n != from+j-i {
				break
			}
		}
		if j-i > 2 {
			words = append(words, names[i]+".."+names[j-1])
		} else {
			words = append(words, names[i:j]...)
		}
		i = j
	}
	return strings.Join(words, " ")
}

func (st *stage) say(format string, args ...any) { fmt.Fprintf(&st.out, format+"\n", args...) }

func (st *stage) called(id cid.Cid) string {
	if name, ok := st.names[id.String()]; ok {
		return name
	}
	return id.String()
}

// list names events in the order of their names, which is not that of their
// CIDs but can be read.
func (st *stage) list(ids []cid.Cid) string {
	if len(ids) == 0 {
		return "none"
	}
	var names []string
	for _, id := range ids {
		names = append(names, st.called(id))
	}
	slices.SortFunc(names, func(a, b string) int {
		pa, na := split(a)
		pb, nb := split(b)
		if pa != pb {
			return strings.Compare(pa, pb)
		}
		return na - nb
	})
	return collapse(names)
}

// inWords puts names for the CIDs of a message.
func (st *stage) inWords(err error) string {
	words := strings.Split(err.Error(), " ")
	for i, word := range words {
		if name, ok := st.names[strings.TrimRight(word, ",")]; ok {
			words[i] = name + word[len(strings.TrimRight(word, ",")):]
		}
	}
	return strings.Join(words, " ")
}
