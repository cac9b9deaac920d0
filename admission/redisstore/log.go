package redisstore

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// LogTo has the client library's own remarks, each failed dial above all, in a
// log instead of on standard error. The library has one log for the process.
func LogTo(log *zap.Logger) { redis.SetLogger(remarks{log.Named("redis")}) }

type remarks struct{ log *zap.Logger }

func (r remarks) Printf(_ context.Context, format string, args ...any) {
	if entry := r.log.Check(zap.DebugLevel, "client remark"); entry != nil {
		entry.Write(zap.String("remark", fmt.Sprintf(format, args...)))
	}
}
