package main

import (
	"io"
	stdlog "log"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/ropeline/ropeline/config"
)

// newLog returns a log that writes to out what is of a level, which may change.
// format has been checked with the file.
func newLog(out io.Writer, level zap.AtomicLevel, format string) *zap.Logger {
	as := zap.NewProductionEncoderConfig()
	as.TimeKey, as.MessageKey = "time", "message"
	as.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoder := zapcore.NewJSONEncoder(as)
	if format == "console" {
		as.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(as)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(out)), level))
}

// serverLog has what net/http says of a server in the log, as it is of the public
// listener: that no connection can be taken, above all.
func serverLog(log *zap.Logger) *stdlog.Logger {
	std, err := zap.NewStdLogAt(log.Named("http"), zap.WarnLevel)
	if err != nil {
		panic(err) // only for a level that zap does not know
	}
	return std
}

// accessLimit is a rate of lines by the second; 0: no limit.
func accessLimit(r config.Rate) int64 {
	if r == (config.Rate{}) {
		return 0
	}
	return max(1, r.PerHour()/3600)
}
