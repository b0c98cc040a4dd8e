package main

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted stands for a secret in everything that people or log stores may see.
const redacted = "REDACTED"

// Secret is a text that never shows itself: fmt with any verb, JSON, slog, and zap write REDACTED, or nothing where
// it is empty. Only as the key of a map would JSON show it. string(secret) gives the text to the one place that needs
// it.
type Secret string

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString redacts %#v for those who call it themselves; fmt calls Format.
func (s Secret) GoString() string { return s.String() }

// Format redacts every verb of fmt.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, s.String()) }

// MarshalText redacts JSON and everything else that writes text.
func (s Secret) MarshalText() ([]byte, error) { //nolint:unparam // the signature is encoding.TextMarshaler's
	return []byte(s.String()), nil
}

// LogValue redacts slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
