package graph

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// MaxEvents is the most events that are drawn: beyond, neither a person nor
// Graphviz makes anything of it.
const MaxEvents = 2000

// Event is an event to draw.
type Event struct {
	CID       string
	Publisher string
	Seq       uint64
	Height    uint64
	Time      time.Time
	Links     []string // CIDs; those not drawn become stubs
	Payload   []byte
}

// Topic is what a picture says of the topic as a whole.
type Topic struct {
	Name       string
	ID         string
	Events     uint64 // in all, of which the last are drawn; 0: unknown
	OlderHeads int    // heads that are not drawn
}

// Layout is where everything is. The JSON of it is what WriteJSON writes:
// lengths are in pixels of the SVG. Lists are never nil.
type Layout struct {
	Topic      string `json:"topic"`
	TopicID    string `json:"topic_id"`
	Events     uint64 `json:"events"`      // of the topic; len(nodes) are drawn
	OlderHeads int    `json:"older_heads"` // that are not drawn
	Width      int    `json:"width"`
	Height     int    `json:"height"`
	Lanes      []Lane `json:"lanes"`
	Nodes      []Node `json:"nodes"` // in canonical order as far as the text of CIDs has it: height, then CID
	Edges      []Edge `json:"edges"` // by their node, then as it links

	scale scale
	ticks []tick
}

// Lane is the line of one publisher.
type Lane struct {
	Lane      int    `json:"lane"` // from the top, by publisher
	Publisher string `json:"publisher"`
	Events    int    `json:"events"` // drawn
	Y         int    `json:"y"`      // its middle
}

// Node is a drawn event.
type Node struct {
	CID       string    `json:"cid"`
	Publisher string    `json:"publisher"`
	Seq       uint64    `json:"seq"`
	Height    uint64    `json:"height"`
	Time      time.Time `json:"time"`
	Head      bool      `json:"head"`
	Lane      int       `json:"lane"`
	X         int       `json:"x"`
	Y         int       `json:"y"`
	Preview   string    `json:"preview"` // of the payload, for people

	outside int // links that are not drawn
}

// Edge is a link.
type Edge struct {
	From  string `json:"from"` // the event that links
	To    string `json:"to"`   // what it links to
	Drawn bool   `json:"drawn"`

	from, to int // nodes; to is -1 when it is not drawn
}

// tick is a height that the axis names.
type tick struct {
	x      int
	height uint64
}

// Lay lays out events, which are the last of their topic in canonical order: an
// event that nothing drawn links to is a head then. It fails for more than
// MaxEvents, and for two events of one CID.
func Lay(t Topic, events []Event) (*Layout, error) {
	if len(events) > MaxEvents {
		return nil, fmt.Errorf("draw %d events: the limit is %d", len(events), MaxEvents)
	}
	events = slices.Clone(events)
	slices.SortFunc(events, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.Height, b.Height), cmp.Compare(a.CID, b.CID))
	})
	l := &Layout{
		Topic:      t.Name,
		TopicID:    t.ID,
		Events:     max(t.Events, uint64(len(events))),
		OlderHeads: t.OlderHeads,
		Lanes:      []Lane{},
		Nodes:      []Node{},
		Edges:      []Edge{},
	}
	index := make(map[string]int, len(events))
	for i, e := range events {
		if _, twice := index[e.CID]; twice {
			return nil, fmt.Errorf("draw event %s: it is there twice", e.CID)
		}
		index[e.CID] = i
	}
	l.addNodes(events, index)
	l.place()
	return l, nil
}

func (l *Layout) addNodes(events []Event, index map[string]int) {
	for _, e := range events {
		l.Nodes = append(l.Nodes, Node{
			CID:       e.CID,
			Publisher: e.Publisher,
			Seq:       e.Seq,
			Height:    e.Height,
			Time:      e.Time.UTC(),
			Head:      true,
			Preview:   preview(e.Payload),
		})
	}
	for i, e := range events {
		for _, link := range e.Links {
			to, drawn := index[link]
			if !drawn {
				to = -1
				l.Nodes[i].outside++
			} else {
				l.Nodes[to].Head = false
			}
			l.Edges = append(l.Edges, Edge{From: e.CID, To: link, Drawn: drawn, from: i, to: to})
		}
	}
	l.addLanes()
}

// addLanes gives each publisher a lane, in the order of their ids.
func (l *Layout) addLanes() {
	count := map[string]int{}
	for _, n := range l.Nodes {
		count[n.Publisher]++
	}
	lane := map[string]int{}
	for publisher := range count {
		l.Lanes = append(l.Lanes, Lane{Publisher: publisher, Events: count[publisher]})
	}
	slices.SortFunc(l.Lanes, func(a, b Lane) int { return cmp.Compare(a.Publisher, b.Publisher) })
	for i := range l.Lanes {
		l.Lanes[i].Lane = i
		lane[l.Lanes[i].Publisher] = i
	}
	for i := range l.Nodes {
		l.Nodes[i].Lane = lane[l.Nodes[i].Publisher]
	}
}

// place gives everything its coordinates.
func (l *Layout) place() {
	column := map[uint64]int{} // by height; a height that nobody has takes none
	for _, n := range l.Nodes {
		if _, ok := column[n.Height]; !ok {
			column[n.Height] = len(column)
		}
	}
	rows := l.rows()
	l.scale = scaleFor(len(column), len(l.Lanes))
	top := marginTop
	for i := range l.Lanes {
		height := l.scale.lane + (rows.of(i)-1)*l.scale.row
		l.Lanes[i].Y = top + height/2
		top += height
	}
	for i := range l.Nodes {
		n := &l.Nodes[i]
		n.X = marginLeft + column[n.Height]*l.scale.column
		n.Y = l.Lanes[n.Lane].Y + (2*rows.row[i]-rows.of(n.Lane)+1)*l.scale.row/2
	}
	l.Width = max(minWidth, marginLeft+max(0, len(column)-1)*l.scale.column+marginRight)
	l.Height = top + marginBottom
	l.addTicks()
}

// rows are the lines inside the lanes: a publisher has more than one event of a
// height when two nodes use its key, and they must not hide each other.
type rows struct {
	row  []int       // of each node, in its lane
	most map[int]int // by lane
}

func (r rows) of(lane int) int { return max(1, r.most[lane]) }

func (l *Layout) rows() rows {
	type place struct {
		lane   int
		height uint64
	}
	taken := map[place]int{}
	r := rows{row: make([]int, len(l.Nodes)), most: map[int]int{}}
	for i, n := range l.Nodes {
		p := place{n.Lane, n.Height}
		r.row[i] = taken[p]
		taken[p]++
		r.most[n.Lane] = max(r.most[n.Lane], taken[p])
	}
	return r
}

// addTicks names heights that are far enough apart to be read.
func (l *Layout) addTicks() {
	last := -tickGap
	for _, n := range l.Nodes {
		if n.X-last >= tickGap {
			l.ticks = append(l.ticks, tick{n.X, n.Height})
			last = n.X
		}
	}
}
