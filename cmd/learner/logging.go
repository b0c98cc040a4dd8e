package main

import (
	"io"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

// logTime is RFC 3339 with milliseconds.
const logTime = "2006-01-02T15:04:05.000Z07:00"

// logLevel returns the configured level.
func logLevel(cfg *Config) zap.AtomicLevel {
	level, err := zap.ParseAtomicLevel(cfg.LogLevel)
	if err != nil {
		panic("log level was not validated")
	}
	return level
}

// newLogger returns a logger that writes to w at a level in the configured format.
func newLogger(cfg *Config, level zap.AtomicLevel, w io.Writer) *zap.Logger {
	keys := zap.NewProductionEncoderConfig()
	keys.EncodeTime = zapcore.TimeEncoderOfLayout(logTime)
	keys.EncodeDuration = zapcore.StringDurationEncoder

	encoder := zapcore.NewJSONEncoder(keys)
	if cfg.LogFormat == "console" || cfg.LogFormat == "auto" && isTerminal(w) {
		keys.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(keys)
	}
	sink := zapcore.Lock(zapcore.AddSync(w))
	return zap.New(zapcore.NewCore(encoder, sink, level), zap.AddCaller(), zap.ErrorOutput(sink))
}

// isTerminal says whether people are likely to read what is written to w as it comes.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
