package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"learner/pkg/record"
)

const (
	mediaType = "application/vnd.schemaregistry.v1+json"

	maxAnswer     = 4 << 20 // bytes
	maxRedirects  = 3
	maxReferences = 256
)

// address is where a registry listens.
type address struct {
	base        string // without credentials and a slash at the end
	key, secret string
}

// addresses reads the URLs of a configuration.
func addresses(cfg Config) ([]address, error) {
	var all []address
	var errs []error
	for i, text := range strings.Split(cfg.URLs, ",") {
		text = strings.TrimSpace(text)
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
			// The text may hold credentials.
			errs = append(errs, fmt.Errorf("schema registry: URL %d of the list is not of the form https://host:port", i+1))
			continue
		}
		a := address{key: cfg.Key, secret: cfg.Secret}
		if a.key == "" && u.User != nil {
			a.key = u.User.Username()
			a.secret, _ = u.User.Password()
		}
		u.User = nil
		a.base = strings.TrimRight(u.String(), "/")
		all = append(all, a)
	}
	return all, errors.Join(errs...)
}

func newHTTP(cfg Config) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = cfg.TLS
	transport.MaxResponseHeaderBytes = 64 << 10
	timeout := cfg.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	return &http.Client{Transport: transport, Timeout: timeout, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		switch before := via[0].URL; {
		case len(via) > maxRedirects:
			return fmt.Errorf("it redirects more than %d times", maxRedirects)
		case req.URL.Host != before.Host || req.URL.Scheme != before.Scheme: // the credentials are not for those
			return fmt.Errorf("it redirects to %s://%s", req.URL.Scheme, req.URL.Host)
		}
		return nil
	}}
}

// denied is the answer that there is no such thing.
type denied struct{ text string }

func (d *denied) Error() string { return d.text }

// refused is the answer that something else is wrong.
type refused struct {
	status int
	text   string
}

func (r *refused) Error() string { return r.text }

// do asks the registry, at its addresses one after the other until one answers. Its error names them and never holds credentials.
func (c *Client) do(ctx context.Context, method, path string, body, answer any) error {
	var errs []string
	for _, a := range c.urls {
		err := c.ask(ctx, a, method, path, body, answer)
		if err == nil {
			c.requested(OK)
			return nil
		}
		if denial, ok := errors.AsType[*denied](err); ok {
			c.requested(NotFound)
			return denial
		}
		c.requested(Failed)
		if refusal, ok := errors.AsType[*refused](err); ok && method != http.MethodGet && refusal.status < 500 {
			return refusal
		}
		errs = append(errs, err.Error())
	}
	return errors.New(strings.Join(errs, "; "))
}

// ask asks at one address.
func (c *Client) ask(ctx context.Context, a address, method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		text = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Accept", mediaType+", application/json")
	req.Header.Set("User-Agent", "learner")
	if body != nil {
		req.Header.Set("Content-Type", mediaType)
	}
	if a.key != "" || a.secret != "" {
		req.SetBasicAuth(a.key, a.secret)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL, which a redirect may have filled with anything
		}
		return fmt.Errorf("schema registry %s: %w", a.base, err)
	}
	defer func() { _ = resp.Body.Close() }()
	told, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("schema registry %s: reading the answer: %w", a.base, err)
	case len(told) > maxAnswer:
		return fmt.Errorf("schema registry %s: the answer is larger than %d MiB", a.base, maxAnswer>>20)
	case resp.StatusCode != http.StatusOK:
		return refusal(a, resp, told)
	}
	if err := json.Unmarshal(told, answer); err != nil {
		return fmt.Errorf("schema registry %s: the answer is no JSON of a registry: %w", a.base, err)
	}
	return nil
}

// refusal returns the error of an answer that is not what was asked for. Only the registry's own words that a schema, a
// subject, or a version is not there count as such: a proxy answers 404, too.
func refusal(a address, resp *http.Response, told []byte) error {
	var said struct {
		Code    int    `json:"error_code"`
		Message string `json:"message"`
	}
	words := "without words of a registry"
	if json.Unmarshal(told, &said) == nil && said.Code != 0 {
		words = fmt.Sprintf("%.300q (%d)", said.Message, said.Code)
	}
	status := fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	switch {
	case resp.StatusCode == http.StatusNotFound && said.Code/100 == http.StatusNotFound:
		return &denied{fmt.Sprintf("schema registry %s: %s", a.base, words)}
	case resp.StatusCode == http.StatusNotFound:
		return &refused{resp.StatusCode, fmt.Sprintf("schema registry %s: %s %s: is the URL right?", a.base, status, words)}
	case resp.StatusCode == http.StatusUnauthorized && a.key == "":
		return &refused{resp.StatusCode, fmt.Sprintf("schema registry %s: %s %s: it wants a key and a secret", a.base, status, words)}
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return &refused{resp.StatusCode, fmt.Sprintf("schema registry %s: %s %s: the key does not suffice", a.base, status, words)}
	}
	return &refused{resp.StatusCode, fmt.Sprintf("schema registry %s: %s %s", a.base, status, words)}
}

// schema is a schema as the registry tells it.
type schema struct {
	ID         *int64      `json:"id"`
	GUID       string      `json:"guid"`
	Type       string      `json:"schemaType"`
	Text       string      `json:"schema"`
	References []reference `json:"references"`
}

type reference struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

// definition fetches a schema and those that it refers to.
func (c *Client) definition(id string) (*record.Definition, error) {
	path := "/schemas/ids/" + url.PathEscape(id)
	_, err := strconv.Atoi(id)
	global := err != nil
	if global {
		path = "/schemas/guids/" + url.PathEscape(id)
	}
	var s schema
	if err := c.do(c.ctx, http.MethodGet, path, nil, &s); err != nil {
		return nil, err
	}
	switch {
	case s.Text == "":
		return nil, errors.New("the schema registry's answer holds no schema")
	case !global && s.ID != nil && strconv.FormatInt(*s.ID, 10) != id:
		return nil, fmt.Errorf("the schema registry answers with schema %d", *s.ID)
	case global && s.GUID != "" && !strings.EqualFold(s.GUID, id):
		return nil, fmt.Errorf("the schema registry answers with schema %.40q", s.GUID)
	}
	def := &record.Definition{ID: id, Type: typeOf(s), Text: s.Text}
	met := make(map[reference]bool)
	if err := c.references(def, s.References, met); err != nil {
		return nil, err
	}
	return def, nil
}

func typeOf(s schema) string {
	if s.Type == "" {
		return "AVRO"
	}
	return strings.ToUpper(s.Type)
}

// references fetches schemas that others refer to, each once, those first that it refers to itself.
func (c *Client) references(def *record.Definition, refs []reference, met map[reference]bool) error {
	for _, ref := range refs {
		if met[ref] {
			continue
		}
		met[ref] = true
		if len(met) > maxReferences {
			return unfit(def, fmt.Sprintf("refers to more than %d others", maxReferences))
		}
		var s schema
		path := fmt.Sprintf("/subjects/%s/versions/%d?deleted=true", url.PathEscape(ref.Subject), ref.Version)
		switch err := c.do(c.ctx, http.MethodGet, path, nil, &s); {
		case err != nil:
			return fmt.Errorf("reference to version %d of %q: %w", ref.Version, ref.Subject, err)
		case s.Text == "":
			return fmt.Errorf("reference to version %d of %q: the schema registry's answer holds no schema", ref.Version, ref.Subject)
		}
		if err := c.references(def, s.References, met); err != nil {
			return err
		}
		def.References = append(def.References, s.Text)
		size := 0
		for _, text := range def.References {
			size += len(text)
		}
		if size > maxAnswer {
			return unfit(def, fmt.Sprintf("refers to others of more than %d MiB", maxAnswer>>20))
		}
	}
	return nil
}

// unfit is the error of a schema that is there, and of no use. Schemas never change.
func unfit(def *record.Definition, why string) *record.Bad {
	return &record.Bad{Reason: record.Schema, Detail: "schema " + def.ID + " " + why}
}

// Register makes a schema known under a subject, and returns its id: the one it has, if it was known before. Type is AVRO, JSON, or
// PROTOBUF.
func (c *Client) Register(ctx context.Context, subject, text, typ string) (id int, err error) {
	body := struct {
		Schema string `json:"schema"`
		Type   string `json:"schemaType,omitempty"`
	}{text, typ}
	if typ == "AVRO" {
		body.Type = "" // which registries of old do not know
	}
	var answer struct {
		ID *int `json:"id"`
	}
	err = c.do(ctx, http.MethodPost, "/subjects/"+url.PathEscape(subject)+"/versions", body, &answer)
	if refusal, ok := errors.AsType[*refused](err); ok {
		switch refusal.status {
		case http.StatusConflict:
			err = fmt.Errorf("%w: the schema is not compatible with the subject's others", err)
		case http.StatusUnprocessableEntity:
			err = fmt.Errorf("%w: the registry takes no such schema", err)
		}
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("register a schema under %q: %w", subject, err)
	case answer.ID == nil:
		return 0, fmt.Errorf("register a schema under %q: the schema registry's answer holds no id", subject)
	}
	return *answer.ID, nil
}
