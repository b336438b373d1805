package delivery

import (
	"fmt"
	"slices"
)

// Info says where the consumer stands. An idle one stays idle: what a list of all
// consumers costs is not what using all of them would.
func (c *Consumer) Info() (Info, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, ok, err := c.recorded()
	if err == nil && !ok {
		info, err = c.info()
	}
	if err != nil {
		return Info{}, fmt.Errorf("consumer %q: %w", c.settings.Name, err)
	}
	return info, nil
}

// recorded returns the Info of a consumer that is not in memory, unless that takes
// a look at the log above the floor.
func (c *Consumer) recorded() (_ Info, ok bool, err error) {
	if c.loaded != nil || c.saving != nil || c.removed || c.set.isClosed() {
		return Info{}, false, nil
	}
	log, err := c.set.cfg.Topic(c.settings.Topic)
	if err != nil {
		return Info{}, false, err
	}
	p, err := c.progress()
	if err != nil {
		return Info{}, false, err
	}
	unsettled := p.scanned.Number - p.floor.Number
	for _, r := range p.runs {
		unsettled -= r.settled
	}
	delivered := uint64(len(p.delivered))
	if delivered > unsettled || c.settings.CausalAcks && delivered < unsettled { // which of them wait?
		return Info{}, false, nil
	}
	info := Info{
		Name:       c.settings.Name,
		TopicID:    c.settings.Topic,
		AckFloor:   p.floor,
		Pending:    len(p.delivered) + len(p.again),
		Dead:       p.dead,
		Suppressed: p.suppressed,
		Full:       p.scanned.Number-p.floor.Number >= MaxAhead,
		Lag:        unsettled - delivered,
	}
	attempts := map[uint64]uint64{}
	for _, d := range slices.Concat(p.delivered, p.again) {
		if c.settings.MaxDeliver > 0 && p.deadline(d, c.set.now()) <= c.set.now() { // it may be a dead letter now
			return Info{}, false, nil
		}
		attempts[d.number] = d.attempts
	}
	for _, d := range p.delivered {
		if d.attempts > 1 {
			info.Redelivered++
		}
	}
	for record, err := range c.set.records(below(againPrefix, c.settings.Name), "") {
		if err != nil {
			return Info{}, false, err
		}
		n, err := decodeNote(record)
		switch {
		case err != nil:
			return Info{}, false, err
		case attempts[n.cursor.Number] == 0:
			info.Lag++
		case attempts[n.cursor.Number] > n.attempts+1:
			info.Redelivered++
		}
	}
	for _, err := range log.Log(p.scanned) { // which checks that the log is the same
		if err != nil {
			return Info{}, false, err
		}
		break
	}
	end, err := log.End()
	info.Lag += end.Number - min(end.Number, p.scanned.Number)
	return info, true, err
}

// info returns the Info of a consumer in memory, where it puts it for as long as
// that takes.
func (c *Consumer) info() (Info, error) {
	idle, usedAt := c.loaded == nil, c.usedAt
	l, err := c.load()
	if err != nil {
		return Info{}, err
	}
	if !idle {
		c.usedAt = usedAt // to ask is no use
	}
	if err := c.expire(l); err != nil {
		return Info{}, err
	}
	end, err := l.log.End()
	if err != nil {
		return Info{}, err
	}
	if idle && c.users == 0 && l.version == l.saved {
		defer c.drop(l, errDropped)
	}
	return Info{
		Name:        c.settings.Name,
		TopicID:     c.settings.Topic,
		AckFloor:    l.floor,
		Pending:     l.delivered,
		Waiting:     l.waiting,
		Redelivered: l.redelivered,
		Dead:        l.dead,
		Suppressed:  l.suppressed,
		Full:        l.full(),
		Lag:         end.Number - min(end.Number, l.scanned().Number) + uint64(l.waiting+l.ready.Len()),
	}, nil
}
