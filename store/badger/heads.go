package badger

import (
	"slices"

	"github.com/hashicorp/golang-lru/v2"

	"github.com/cairn-p2p/cairn/types"
)

const (
	// cachedTopics and maxCachedHeads bound the heads kept in memory, of the
	// topics used last: 60 bytes a head, so 4 MB at most.
	cachedTopics   = 1024
	maxCachedHeads = 64
)

// headsCache keeps topics' heads beside the end of the log that they belong to.
// To read them from the database costs more with every head that was dropped
// since its log was last written out, and peers ask for them all the time.
type headsCache struct {
	topics *lru.Cache[types.TopicID, cachedHeads]
}

// cachedHeads are right for as long as the log ends with end, whatever commits
// failed or were lost meanwhile: the log determines its heads.
type cachedHeads struct {
	end   logState
	heads []types.Head // by the bytes of the CID; never changed
}

func newHeadsCache() headsCache {
	topics, err := lru.New[types.TopicID, cachedHeads](cachedTopics)
	if err != nil {
		panic(err) // only a size that is not positive
	}
	return headsCache{topics}
}

// get returns the heads at end, which the caller owns, if they are known.
func (c headsCache) get(topic types.TopicID, end logState) ([]types.Head, bool) {
	known, ok := c.topics.Get(topic)
	if !ok || known.end != end {
		return nil, false
	}
	return slices.Clone(known.heads), true
}

// put keeps the heads at end, unless they are many.
func (c headsCache) put(topic types.TopicID, end logState, heads []types.Head) {
	if len(heads) > maxCachedHeads {
		c.topics.Remove(topic)
		return
	}
	c.topics.Add(topic, cachedHeads{end, slices.Clone(heads)})
}

// move follows a batch that was committed behind from.
func (c headsCache) move(b *types.Batch, from, end logState) {
	heads, ok := c.get(b.Topic, from)
	if !ok {
		return
	}
	heads = slices.DeleteFunc(heads, func(h types.Head) bool { return slices.Contains(b.DropHeads, h.CID) })
	heads = append(heads, b.AddHeads...)
	slices.SortFunc(heads, func(a, b types.Head) int { return types.CompareCIDs(a.CID, b.CID) })
	c.put(b.Topic, end, heads)
}
