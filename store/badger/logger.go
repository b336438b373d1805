package badger

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// bridge hands Badger's messages to slog. What Badger calls information is
// about its own tables: debugging, here.
type bridge struct{ log *slog.Logger }

func (b bridge) Errorf(f string, args ...any)   { b.print(slog.LevelError, f, args) }
func (b bridge) Warningf(f string, args ...any) { b.print(slog.LevelWarn, f, args) }
func (b bridge) Infof(f string, args ...any)    { b.print(slog.LevelDebug, f, args) }
func (b bridge) Debugf(f string, args ...any)   { b.print(slog.LevelDebug, f, args) }

func (b bridge) print(level slog.Level, format string, args []any) {
	ctx := context.Background()
	if !b.log.Enabled(ctx, level) {
		return
	}
	b.log.Log(ctx, level, strings.TrimSpace(fmt.Sprintf(format, args...)), "from", "badger")
}
