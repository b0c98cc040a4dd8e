package serve

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"go.uber.org/zap"
)

// document is the OpenAPI document, with a router for its paths.
type document struct {
	doc    *openapi3.T
	router routers.Router
	err    error
}

var loadDocument = sync.OnceValue(func() (d document) {
	for _, text := range []string{"text/html", "application/octet-stream"} {
		openapi3filter.RegisterBodyDecoder(text, openapi3filter.PlainBodyDecoder)
	}
	if d.doc, d.err = openapi3.NewLoader().LoadFromData(openAPIText); d.err != nil {
		return d
	}
	d.router, d.err = gorillamux.NewRouter(d.doc) // which validates the document
	return d
})

func openAPIDocument(t testing.TB) document {
	t.Helper()
	d := loadDocument()
	if d.err != nil {
		t.Fatal(d.err)
	}
	return d
}

// documented fails the test if an answer is not as the document says, or if the document takes a request for wrong that was
// answered with 200. What has no path there is passed over.
func documented(t testing.TB, req *http.Request, body string, got reply) {
	t.Helper()
	d := openAPIDocument(t)
	again := httptest.NewRequest(req.Method, req.URL.RequestURI(), strings.NewReader(body))
	again.Header = req.Header.Clone()
	if body != "" {
		again.Header.Set("Content-Type", "application/json") // others are taken for it
	}
	route, params, err := d.router.FindRoute(again)
	if err != nil {
		return
	}
	input := &openapi3filter.RequestValidationInput{Request: again, PathParams: params, Route: route}
	if got.code == http.StatusOK {
		if err := openapi3filter.ValidateRequest(t.Context(), input); err != nil {
			t.Errorf("%s %s was answered, and is wrong by the document: %v", req.Method, req.URL, err)
		}
	}
	err = openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: got.code, Header: got.header, Body: io.NopCloser(strings.NewReader(got.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
	if err != nil {
		t.Errorf("the answer to %s %s is not as documented: %v", req.Method, req.URL, err)
	}
}

func TestOpenAPI(t *testing.T) {
	d := openAPIDocument(t)
	f := start(t, nil, nil)
	if got := f.do("GET", "/openapi.yaml"); got.code != 200 || got.body != string(openAPIText) || got.header.Get("Content-Type") != "application/yaml" {
		t.Errorf("%d %v", got.code, got.header)
	}
	s := New(Config{Log: zap.NewNop(), Metrics: http.NotFoundHandler()})
	patterns := append(slices.Collect(maps.Keys(s.pages())), slices.Collect(maps.Keys(s.predictions()))...)
	if len(patterns) < 15 {
		t.Errorf("only %d patterns", len(patterns))
	}
	for _, pattern := range patterns {
		path := strings.NewReplacer("{$}", "", "...}", "}").Replace(pattern)
		if path == "/v1/models/{name}" {
			path += ":predict"
		}
		item := d.doc.Paths.Value(path)
		if item == nil {
			t.Errorf("%s is not in the document", path)
			continue
		}
		named := regexp.MustCompile(`\{\w+\}`).FindAllString(path, -1)
		for method, operation := range item.Operations() {
			if operation.Responses.Default() == nil {
				t.Errorf("%s %s does not say what an error looks like", method, path)
			}
			for _, name := range named {
				if item.Parameters.GetByInAndName("path", strings.Trim(name, "{}")) == nil &&
					operation.Parameters.GetByInAndName("path", strings.Trim(name, "{}")) == nil {
					t.Errorf("%s %s does not describe %s", method, path, name)
				}
			}
		}
	}
}
