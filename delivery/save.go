package delivery

import (
	"github.com/cairn-p2p/cairn/types"
)

// maxExtra bounds the records that a save writes beside the progress: a
// transaction of the store takes so many with the longest reasons.
const maxExtra = 1000

// save returns once all that was changed in l so far is durable. It is called,
// and returns, with the mutex held, which it lets go of meanwhile. Callers that
// come during a write share the next one. On an error l is dropped.
func (c *Consumer) save(l *loaded) error {
	want := l.version
	for l.saved < want {
		switch {
		case l.dropped != nil:
			return l.dropped
		case c.saving == nil:
			c.write(l)
		default:
			c.awaitSave()
		}
	}
	return nil
}

// write makes l durable as it is.
func (c *Consumer) write(l *loaded) {
	version, scanned, extra := l.version, l.scanned().Number, l.extra
	p := l.progress()
	p.incarnation, p.epoch, p.dead, p.suppressed = c.set.incarnation, l.epoch, l.dead, l.suppressed
	p.at = c.set.now()
	l.extra = nil
	c.saving = make(chan struct{})
	c.mu.Unlock()
	err := c.writeRecords(append(extra, types.Record{Key: progressPrefix + c.settings.Name, Value: p.encode()}))
	c.mu.Lock()
	close(c.saving)
	c.saving = nil
	if err != nil {
		c.drop(l, err)
		return
	}
	l.saved, l.savedScan = version, scanned
}

// writeRecords writes records in as few transactions as take them, the last of
// them last. A crash in between leaves notes of events whose progress does not
// know of them yet; they come to the same end again, under the same keys.
func (c *Consumer) writeRecords(records []types.Record) error {
	for len(records) > maxExtra+1 {
		if err := c.set.cfg.Records.SetMetas(records[:maxExtra]...); err != nil {
			return err
		}
		records = records[maxExtra:]
	}
	return c.set.cfg.Records.SetMetas(records...)
}

// awaitSave lets go of the mutex until the save under way has ended.
func (c *Consumer) awaitSave() {
	done := c.saving
	c.mu.Unlock()
	<-done
	c.mu.Lock()
}
