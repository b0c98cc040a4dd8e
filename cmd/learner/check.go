package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"learner/pkg/record"
	"learner/pkg/serve"
	"learner/pkg/sgd"
)

// Validate returns nil, or a usageError that names every field that is wrong, one on a line.
func (c *Config) Validate() error {
	var bad faults
	c.check(&bad)
	return bad.err()
}

// check reports every field that is out of range, and fields that contradict each other.
func (c *Config) check(bad *faults) {
	c.checkConnection(bad)

	checkTopic(bad, "LEARNER_TRAIN_TOPIC", c.TrainTopic)
	checkTopic(bad, "LEARNER_TEST_TOPIC", c.TestTopic)
	if c.TestTopic == c.TrainTopic {
		bad.found("LEARNER_TEST_TOPIC", c.TestTopic)
	}
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if n := len(c.Group); n < 1 || n > 249 || !utf8.ValidString(c.Group) || strings.ContainsFunc(c.Group, unprintable) {
		bad.found("LEARNER_GROUP", c.Group)
	}
	if c.InstanceID != "" { // Kafka holds it to the rules of topics
		checkTopic(bad, "LEARNER_INSTANCE_ID", c.InstanceID)
	}

	checkChoice(bad, "LEARNER_FORMAT", c.Format, "auto", "csv", "json", "avro")
	c.checkRegistry(bad)
	c.checkDecoder(bad)
	if c.HashBits < record.MinHashBits || c.HashBits > record.MaxHashBits {
		bad.found("LEARNER_HASH_BITS", fmt.Sprint(c.HashBits))
	}
	if c.DeadLetterTopic != "" {
		checkTopic(bad, "LEARNER_DEAD_LETTER_TOPIC", c.DeadLetterTopic)
		if c.DeadLetterTopic == c.TrainTopic || c.DeadLetterTopic == c.TestTopic || c.Checkpoint == "topic" && c.DeadLetterTopic == c.CheckpointTopic {
			bad.found("LEARNER_DEAD_LETTER_TOPIC", c.DeadLetterTopic)
		}
	}
	c.checkModels(bad)
	checkChoice(bad, "LEARNER_ORDER", c.Order, "time", "progress")

	c.checkCheckpoints(bad)
	if c.EvalInterval < 100*time.Millisecond || c.EvalInterval > 24*time.Hour {
		bad.found("LEARNER_EVAL_INTERVAL", c.EvalInterval.String())
	}
	if c.EvalRecords < 1 || c.EvalRecords > 10_000_000 {
		bad.found("LEARNER_EVAL_RECORDS", fmt.Sprint(c.EvalRecords))
	}

	if _, port, err := net.SplitHostPort(c.HTTPAddr); err != nil || !validPort(port, 0) {
		bad.found("LEARNER_HTTP_ADDR", c.HTTPAddr)
	}
	c.checkAdmin(bad)
	checkChoice(bad, "LEARNER_LOG_LEVEL", c.LogLevel, "debug", "info", "warn", "error")
	checkChoice(bad, "LEARNER_LOG_FORMAT", c.LogFormat, "auto", "json", "console")
}

// checkAdmin looks at who may be an operator: everyone who can connect, or everyone who has the token.
func (c *Config) checkAdmin(bad *faults) {
	checkSecret(bad, "LEARNER_ADMIN_TOKEN", c.AdminToken)
	if c.AdminAddr == noAdmin {
		return
	}
	host, port, err := net.SplitHostPort(c.AdminAddr)
	switch {
	case err != nil || !validPort(port, 0):
		bad.found("LEARNER_ADMIN_ADDR", c.AdminAddr)
	case c.AdminToken == "" && !serve.Loopback(host):
		bad.add("LEARNER_ADMIN_TOKEN", "not set, and LEARNER_ADMIN_ADDR=%s is no loopback address: set it, or listen on 127.0.0.1", c.AdminAddr)
	}
}

// checkCheckpoints looks at what decides the start and what is kept.
func (c *Config) checkCheckpoints(bad *faults) {
	switch {
	case c.Reset.set && c.ResetID == "":
		bad.missing("LEARNER_RESET_ID")
	case !c.Reset.set && c.ResetID != "":
		bad.missing("LEARNER_RESET")
	case len(c.ResetID) > 200 || !utf8.ValidString(c.ResetID) || strings.ContainsFunc(c.ResetID, func(r rune) bool { return !unicode.IsPrint(r) }):
		bad.found("LEARNER_RESET_ID", c.ResetID)
	}
	checkChoice(bad, "LEARNER_CHECKPOINT", c.Checkpoint, "topic", "dir", "none")
	switch c.Checkpoint {
	case "topic":
		checkTopic(bad, "LEARNER_CHECKPOINT_TOPIC", c.CheckpointTopic)
		if c.CheckpointTopic == c.TrainTopic || c.CheckpointTopic == c.TestTopic {
			bad.found("LEARNER_CHECKPOINT_TOPIC", c.CheckpointTopic)
		}
	case "dir":
		if c.CheckpointDir == "" {
			bad.missing("LEARNER_CHECKPOINT_DIR")
		}
	case "none":
		if c.Reset.set {
			bad.add("LEARNER_RESET", "set, but LEARNER_CHECKPOINT=none makes every start fresh: set LEARNER_START instead")
		}
	}
	if c.CheckpointInterval < 100*time.Millisecond || c.CheckpointInterval > 24*time.Hour {
		bad.found("LEARNER_CHECKPOINT_INTERVAL", c.CheckpointInterval.String())
	}
}

// checkConnection looks at what the connection to the brokers needs.
func (c *Config) checkConnection(bad *faults) {
	checkChoice(bad, "LEARNER_SECURITY", c.Security, "auto", "sasl_ssl", "ssl", "sasl_plaintext", "plaintext")
	sasl := strings.HasPrefix(c.Security, "sasl_")
	if c.APIKey == "" && (sasl || c.APISecret != "") {
		bad.missing("CCLOUD_CLUSTER_API_KEY")
	}
	if c.APISecret == "" && (sasl || c.APIKey != "") {
		bad.missing("CCLOUD_CLUSTER_API_SECRET")
	}
	checkSecret(bad, "CCLOUD_CLUSTER_API_KEY", c.APIKey)
	checkSecret(bad, "CCLOUD_CLUSTER_API_SECRET", c.APISecret)

	if c.TLSCAFile == "" {
		return
	}
	if c.Security == "auto" && c.APIKey == "" {
		bad.add("LEARNER_TLS_CA_FILE", "set, but the connection would be plaintext: there is no key, and LEARNER_SECURITY is auto")
	}
	if pem, err := os.ReadFile(c.TLSCAFile); err != nil {
		bad.add("LEARNER_TLS_CA_FILE", "%v", err)
	} else if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		bad.found("LEARNER_TLS_CA_FILE", c.TLSCAFile)
	}
}

// checkRegistry looks at how the Schema Registry is reached.
func (c *Config) checkRegistry(bad *faults) {
	const endpoint, key, secret = "CCLOUD_SCHEMA_REGISTRY_ENDPOINT", "CCLOUD_SCHEMA_REGISTRY_API_KEY", "CCLOUD_SCHEMA_REGISTRY_API_SECRET"
	client, err := c.registry(nil, nil)
	switch {
	case err != nil || strings.Contains(c.RegistryURL, "@"): // credentials would be seen in the log
		bad.found(endpoint, c.RegistryURL)
	case client != nil:
		client.Close()
	}
	switch {
	case c.RegistryURL == "" && (c.Format == "avro" || c.RegistryKey != "" || c.RegistrySecret != ""):
		bad.missing(endpoint)
	case c.RegistryKey == "" && c.RegistrySecret != "":
		bad.missing(key)
	case c.RegistryKey != "" && c.RegistrySecret == "":
		bad.missing(secret)
	}
	checkSecret(bad, key, c.RegistryKey)
	checkSecret(bad, secret, c.RegistrySecret)
}

// recordOptions returns what the configuration says of records. The header has the names of CSV columns where the configuration
// has none.
func (c *Config) recordOptions(header []string) record.Options {
	columns := c.Columns
	if len(columns) == 0 {
		columns = header
	}
	return record.Options{Format: c.Format, Label: c.Label, Columns: columns, Features: c.Features, Positive: c.Positive}
}

// checkDecoder asks the decoder of the records whether it can work with label, columns, and features. Names of CSV columns may
// still come with a header line: until then they are taken for those of fields.
func (c *Config) checkDecoder(bad *faults) {
	options := c.recordOptions(nil)
	if options.Format != "json" {
		options.Format = "auto"
	}
	if _, err := record.NewDecoder(options); err != nil {
		for name, err := range decoderFaults(err).of {
			bad.add(name, "%s", strings.TrimPrefix(err.Error(), name+": "))
		}
	}
}

// decoderFaults returns what is wrong with variables by an error of a decoder's options, each line of which begins with the
// option's name: a variable's without the prefix, in lower case.
func decoderFaults(err error) *faults {
	said := make(map[string][]string)
	for line := range strings.SplitSeq(err.Error(), "\n") {
		option, text, _ := strings.Cut(line, ": ")
		name := prefix + strings.ToUpper(option)
		said[name] = append(said[name], text)
	}
	var bad faults
	for name, texts := range said {
		bad.add(name, "%s", strings.Join(texts, "; "))
	}
	return &bad
}

// checkModels asks the learners whether they know the models, and looks at how these are compared.
func (c *Config) checkModels(bad *faults) {
	if _, err := sgd.ParseModels(c.Models); err != nil {
		bad.add("LEARNER_MODELS", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	checkChoice(bad, "LEARNER_CHAMPION", c.Champion, "first", "best")
	if c.TwinAge < 1000 {
		bad.found("LEARNER_TWIN_AGE", fmt.Sprint(c.TwinAge))
	}
}

// checkChoice reports a value that is not one of choices.
func checkChoice(bad *faults, name, value string, choices ...string) {
	if !slices.Contains(choices, value) {
		bad.found(name, value)
	}
}

// checkTopic reports a value that breaks Kafka's rules for the names of topics.
func checkTopic(bad *faults, name, value string) {
	illegal := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	}
	if value == "" || len(value) > 249 || value == "." || value == ".." || strings.ContainsFunc(value, illegal) {
		bad.found(name, value)
	}
}

// checkSecret reports white space and control characters: SASL PLAIN separates by NUL, and the others are what is
// caught by mistake when a secret is copied.
func checkSecret(bad *faults, name string, secret Secret) {
	caught := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }
	if strings.ContainsFunc(string(secret), caught) {
		bad.add(name, "contains white space or a control character, want %s", wanted(name))
	}
}

// faults collects what is wrong with variables. One fault is told of each, the first: others may follow from it.
type faults struct {
	of map[string]error // by the variable's name
}

// add reports a fault of the variable of that name.
func (f *faults) add(name, format string, args ...any) {
	if f.of[name] != nil {
		return
	}
	if f.of == nil {
		f.of = make(map[string]error)
	}
	f.of[name] = fmt.Errorf("%s: "+format, append([]any{name}, args...)...)
}

// found reports a value that is not allowed. It is not for secrets; user information before a host is redacted.
func (f *faults) found(name, value string) {
	if at := strings.LastIndexByte(value, '@'); at >= 0 {
		value = redacted + value[at:]
	}
	f.add(name, "found %.200q, want %s", value, wanted(name))
}

// missing reports a variable that has to be set.
func (f *faults) missing(name string) { f.add(name, "not set, want %s", wanted(name)) }

// wanted returns what is allowed for the variable of that name.
func wanted(name string) string {
	all := settings()
	return all[slices.IndexFunc(all, func(s setting) bool { return s.name == name })].want
}

// err returns nil, or a usageError with one line for each fault: in the order of Config, then unknown names in theirs.
func (f *faults) err() error {
	if len(f.of) == 0 {
		return nil
	}
	rest := maps.Clone(f.of)
	list := make([]error, 0, len(rest))
	for _, s := range settings() {
		list = append(list, rest[s.name]) // Join leaves nil out
		delete(rest, s.name)
	}
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		list = append(list, rest[name])
	}
	return usageError{errors.Join(list...)}
}
