package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"go.uber.org/zap/zapcore"
)

// Set when linking: -ldflags "-X main.version=v1.2.3 -X main.revision=0123abc".
var version, revision string

// build says what program this is.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// currentBuild returns what was set when linking, else what the Go tool recorded, else "unknown".
func currentBuild() build {
	b := build{Version: version, Revision: revision, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.complete(info)
	}
	if b.Version == "" {
		b.Version = "unknown"
	}
	if b.Revision == "" {
		b.Revision = "unknown"
	}
	return b
}

// complete fills what is empty from info. A revision with changes that were not committed ends in "-dirty".
func (b *build) complete(info *debug.BuildInfo) {
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	if b.Revision != "" {
		return
	}
	vcs := make(map[string]string)
	for _, s := range info.Settings {
		vcs[s.Key] = s.Value
	}
	if b.Revision = vcs["vcs.revision"]; b.Revision != "" && vcs["vcs.modified"] == "true" {
		b.Revision += "-dirty"
	}
}

// MarshalLogObject lets zap.Object log the build.
func (b build) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("version", b.Version)
	enc.AddString("revision", b.Revision)
	enc.AddString("go", b.Go)
	enc.AddString("platform", b.Platform)
	return nil
}

// printVersion prints the build.
func printVersion(_ context.Context, p *process) error {
	if err := p.parseNothing(); err != nil {
		return err
	}
	b := currentBuild()
	return p.print(fmt.Sprintf("learner %s\nrevision %s\n%s %s\n", b.Version, b.Revision, b.Go, b.Platform))
}
