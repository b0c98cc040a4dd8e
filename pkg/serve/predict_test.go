package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"
)

// echo answers with a row's first feature as the probability, and explains each feature by its value, with a base of 0.5. A
// missing value counts as 0.75, a category as the number of letters of its text, a missing one as none.
func echo(model, version string, columns *Columns) Predictor {
	values := func(rows *Rows, row int) []float64 {
		all := make([]float64, 0, len(columns.all))
		x, hashes := rows.X[row*columns.numbers:], rows.Hashes[row*columns.categories():]
		for _, c := range columns.all {
			switch {
			case c.Category != nil:
				all, hashes = append(all, float64(hashes[0])), hashes[1:]
			case x[0] != x[0]:
				if !rows.Missing {
					panic("a number is missing")
				}
				all, x = append(all, 0.75), x[1:]
			default:
				all, x = append(all, x[0]), x[1:]
			}
		}
		return all
	}
	return Predictor{
		Model: model, Kind: "echo", Version: version, Columns: columns,
		Predict: func(dst []float64, rows *Rows) {
			if len(rows.X) != len(dst)*columns.numbers || len(rows.Hashes) != len(dst)*columns.categories() || rows.N != len(dst) {
				panic("rows of another width")
			}
			for i := range dst {
				dst[i] = min(max(values(rows, i)[0], 0), 1)
			}
		},
		Explain: func(dst []float64, rows *Rows, row int) float64 {
			copy(dst, values(rows, row))
			return 0.5
		},
	}
}

// letters takes the length of a text for its hash.
type letters struct{}

func (letters) Text(value []byte) uint64 { return uint64(len(value)) }
func (letters) Number(v float64) uint64  { return uint64(v) }

// numbers returns columns of numbers that records do not name.
func numbers(names ...string) *Columns {
	var all []Column
	for _, name := range names {
		all = append(all, Column{Name: name})
	}
	return NewColumns(all, false)
}

func predictor(model string) (Predictor, error) {
	switch model {
	case "logistic", "champion":
		return echo("logistic", "1f.12345", numbers("a", `b"é`, "<c>")), nil
	case "one":
		return echo("one", "1f.0", numbers("features")), nil
	case "many":
		return echo("many", "1f.7", numbers(strings.Split(strings.Repeat("x", 12), "")...)), nil
	case "pixels":
		return echo("pixels", "1f.8", NewColumns([]Column{{Name: "p.0"}, {Name: "p.1"}}, true)), nil
	case "wide":
		all := make([]Column, 1024)
		for i := range all {
			all[i].Name = strconv.Itoa(i)
		}
		return echo("wide", "1f.8", NewColumns(all, true)), nil
	case "mixed":
		return echo("mixed", "2a.9", NewColumns([]Column{{Name: "age"}, {"city", letters{}}, {Name: "user.score"}, {"user.plan", letters{}}}, true)), nil
	case "young":
		return Predictor{}, ErrNoState
	case "broken":
		return Predictor{}, errors.New("out of order")
	}
	return Predictor{}, ErrNoModel
}

const (
	v1Path = "/v1/models/logistic:predict"
	v2Path = "/v2/models/logistic/infer"
)

// v2 returns the body of a request with one input.
func v2(name, datatype, shape, data string) string {
	return fmt.Sprintf(`{"inputs":[{"name":%q,"datatype":%q,"shape":%s,"data":%s}]}`, name, datatype, shape, data)
}

func TestPredictions(t *testing.T) {
	f := start(t, nil, nil)
	const (
		v1Rest    = `"model_name":"logistic","model_version":"1f.12345"}` + "\n"
		mixedV1   = "/v1/models/mixed:predict"
		mixedRest = `"model_name":"mixed","model_version":"2a.9"}` + "\n"

		v2Head = `{"model_name":"logistic","model_version":"1f.12345",`
		v2One  = v2Head + `"outputs":[{"name":"probabilities","datatype":"FP64","shape":[1,2],"data":[0.75,0.25]},` +
			`{"name":"label","datatype":"INT64","shape":[1],"data":[0]}]}` + "\n"
		v2Two = v2Head + `"outputs":[{"name":"probabilities","datatype":"FP64","shape":[2,2],"data":[0.75,0.25,0.5,0.5]},` +
			`{"name":"label","datatype":"INT64","shape":[2],"data":[0,1]}]}` + "\n"
	)
	for _, c := range []struct{ name, path, body, want string }{
		{"rows", v1Path, `{"instances":[[0.25,1,2],[1,0,0]]}`, `{"predictions":[0.25,1],` + v1Rest},
		{"space", v1Path, " {\n\"instances\" : [ [ 0.25 , 1 ,\t2 ] ] } \r\n", `{"predictions":[0.25],` + v1Rest},
		{"notations", v1Path, `{"instances":[[25e-2,-0,1E+2],[2.5e-1,true,false]]}`, `{"predictions":[0.25,0.25],` + v1Rest},
		{"other members", v1Path, `{"signature_name":"x","instances":[[0.25,1,2]],"more":[[null]]}`, `{"predictions":[0.25],` + v1Rest},
		{
			"objects", v1Path, `{"instances":[{"<c>":9,"a":0.25,"b\"é":1},{"\u0061":true,"b\"\u00e9":0,"<c>":0},[0.5,0,0]]}`,
			`{"predictions":[0.25,1,0.5],` + v1Rest,
		},
		{"explained", v1Path + "?explain=true", `{"instances":[[0.25,-1,2],[0,0,0]]}`, `{"predictions":[0.25,0],"explanations":[` +
			`{"base":0.5,"contributions":{"a":0.25,"b\"é":-1,"\u003cc\u003e":2}},{"base":0.5,"contributions":{"a":0,"b\"é":0,"\u003cc\u003e":0}}],` + v1Rest},
		{"not explained", v1Path + "?explain=false&x=1", `{"instances":[[0.25,-1,2]]}`, `{"predictions":[0.25],` + v1Rest},
		{"the champion", "/v1/models/champion:predict", `{"instances":[[0.25,-1,2]]}`, `{"predictions":[0.25],` + v1Rest},
		{
			"bare numbers for one feature", "/v1/models/one:predict", `{"instances":[0.5,[0.25],{"features":1}]}`,
			`{"predictions":[0.5,0.25,1],"model_name":"one","model_version":"1f.0"}` + "\n",
		},

		{"null", v1Path, `{"instances":[[null,1,2],{"a":0.25,"b\"é":null,"<c>":1}]}`, `{"predictions":[0.75,0.25],` + v1Rest},
		{
			"categories", mixedV1 + "?explain=true", `{"instances":[[0.25,"Bonn",true,7],[null,null,null,null]]}`,
			`{"predictions":[0.25,0.75],"explanations":[{"base":0.5,"contributions":{"age":0.25,"city":4,"user.score":1,"user.plan":7}},` +
				`{"base":0.5,"contributions":{"age":0.75,"city":0,"user.score":0.75,"user.plan":0}}],` + mixedRest,
		},
		{
			"lists within objects", "/v1/models/pixels:predict", `{"instances":[{"p":[0.25,1]},{"p":[0.5]},{"p":[]},{"p.1":1,"p":[null]}]}`,
			`{"predictions":[0.25,0.5,0.75,0.75],"model_name":"pixels","model_version":"1f.8"}` + "\n",
		},
		{
			"objects within objects", mixedV1 + "?explain=true", `{"instances":[{"city":"\u00e9\n","user":{"score":2,"plan":" "}},{"user.plan":"a","user":{},"age":0.5}]}`,
			`{"predictions":[0.75,0.5],"explanations":[{"base":0.5,"contributions":{"age":0.75,"city":3,"user.score":2,"user.plan":0}},` +
				`{"base":0.5,"contributions":{"age":0.5,"city":0,"user.score":0.75,"user.plan":1}}],` + mixedRest,
		},

		{"flat", v2Path, v2("features", "FP64", "[2,3]", "[0.25,1,2,0.5,0,0]"), v2Two},
		{"nested", v2Path, v2("features", "FP32", "[2,3]", "[[0.25,1,2],[0.5,0,0]]"), v2Two},
		{"one row", v2Path, v2("features", "FP16", "[3]", "[0.25,1,2]"), v2One},
		{"that version", "/v2/models/logistic/versions/1f.12345/infer", v2("features", "FP64", "[1,3]", "[0.25,1,2]"), v2One},
		{
			"id", v2Path, `{"id":"né<1>","inputs":[{"name":"features","datatype":"FP64","shape":[1,3],"data":[0.25,1,2]}],"outputs":[{"name":"label","parameters":{"binary_data":false}}]}`,
			v2Head + `"id":"né\u003c1\u003e","outputs":[{"name":"label","datatype":"INT64","shape":[1],"data":[0]}]}` + "\n",
		},
		{"whole numbers", v2Path, v2("features", "INT64", "[1,3]", "[1,1e0,-9007199254740993]"), v2Head +
			`"outputs":[{"name":"probabilities","datatype":"FP64","shape":[1,2],"data":[0,1]},` +
			`{"name":"label","datatype":"INT64","shape":[1],"data":[1]}]}` + "\n"},
		{"named", v2Path, `{"inputs":[{"name":"<c>","datatype":"UINT8","shape":[2],"data":[255,0]},` +
			`{"name":"a","datatype":"FP64","shape":[2,1],"data":[[0.25],[0.5]]},{"name":"b\"é","datatype":"BOOL","shape":[2,1],"data":[true,0]}]}`, v2Two},
		{
			"explained", v2Path + "?explain=1", `{"inputs":[{"name":"features","datatype":"FP64","shape":[1,3],"data":[0.25,-1,2]}],` +
				`"outputs":[{"name":"features"},{"name":"contributions"},{"name":"base"}]}`,
			v2Head + `"outputs":[{"name":"features","datatype":"BYTES","shape":[3],"data":["a","b\"é","\u003cc\u003e"]},` +
				`{"name":"contributions","datatype":"FP64","shape":[1,3],"data":[0.25,-1,2]},{"name":"base","datatype":"FP64","shape":[1],"data":[0.5]}]}` + "\n",
		},
		{"null in data", v2Path, v2("features", "FP64", "[2,3]", "[[0.25,null,2],[0.5,0,0]]"), v2Two},
		{
			"categories", "/v2/models/mixed/infer?explain=true", `{"inputs":[{"name":"user.plan","datatype":"INT8","shape":[3],"data":[5,null,7]},` +
				`{"name":"city","datatype":"BYTES","shape":[3,1],"data":[["Bonn"],["\t"],["a]\"b"]]},` +
				`{"name":"age","datatype":"FP64","shape":[3],"data":[0.25,0.5,null]}],"outputs":[{"name":"features"},{"name":"contributions"}]}`,
			`{"model_name":"mixed","model_version":"2a.9","outputs":[{"name":"features","datatype":"BYTES","shape":[4],"data":["age","city","user.score","user.plan"]},` +
				`{"name":"contributions","datatype":"FP64","shape":[3,4],"data":[0.25,4,0.75,5,0.5,0,0.75,0,0.75,4,0.75,7]}]}` + "\n",
		},
		{"one feature", "/v2/models/one/infer", v2("features", "FP64", "[2]", "[0.25,0.5]"), strings.NewReplacer("logistic", "one", "1f.12345", "1f.0").Replace(v2Two)},
	} {
		t.Run(c.path+" "+c.name, func(t *testing.T) {
			f := *f
			f.t = t
			got := f.send("POST", c.path, c.body, "Content-Type", "text/plain; charset=utf-8")
			if got.code != 200 || got.body != c.want || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("%d %s, want %s", got.code, got.body, c.want)
			}
		})
	}
	for _, want := range []string{
		"/v1/models/{name} POST 200", "/v2/models/{name}/infer POST 200", "/v2/models/{name}/versions/{version}/infer POST 200",
		"logistic 1 1", "logistic 1 0", "one 1 2",
	} {
		if !f.eventually(want) {
			t.Errorf("the observer was not told of %q", want)
		}
	}
}

func TestPredictionsRefused(t *testing.T) {
	f := start(t, nil, nil)
	known := `,"models":["logistic","young","broken","stuck","od\"d \u003cb\u003e"]`
	for _, c := range []struct {
		name, path, body string
		code             int
		want             string // as the error says it
	}{
		{"empty body", v1Path, ``, 400, "the body is no JSON: byte 0: unexpected end of JSON input"},
		{"cut off", v1Path, `{"instances":[[1,2`, 400, "the body is no JSON: byte 18: unexpected end of JSON input"},
		{"NaN", v1Path, `{"instances":[[1,NaN,3]]}`, 400, "the body is no JSON: byte 18: invalid character 'N' looking for beginning of value (JSON has no NaN and no Infinity)"},
		{"infinite", v1Path, `{"instances":[[1,-Infinity,3]]}`, 400, "the body is no JSON: byte 19: invalid character 'I' in numeric literal (JSON has no NaN and no Infinity)"},
		{"a list", v1Path, `[[1,2,3]]`, 400, "the body is of JSON type array, at byte 1; want an object"},
		{"nothing", v1Path, `null`, 400, "no instances; want a list of rows: lists of 3 values, or objects with a value for each feature"},
		{"no rows", v1Path, `{"instances":[]}`, 400, "no instances; want a list of rows: lists of 3 values, or objects with a value for each feature"},
		{"rows of null", v1Path, `{"instances":null}`, 400, "instances is null; want a list of rows"},
		{"an object of rows", v1Path, `{"instances":{"a":[1]}}`, 400, "instances is an object; want a list of rows"},
		{"too narrow", v1Path, `{"instances":[[1,2,3],[1,2]]}`, 400, `instances[1] has 2 values; model "logistic" takes 3`},
		{"too wide", v1Path, `{"instances":[[1,2,3,4]]}`, 400, `instances[0] has 4 values; model "logistic" takes 3`},
		{"no numbers", v1Path, `{"instances":[[]]}`, 400, `instances[0] has 0 values; model "logistic" takes 3`},
		{"text", v1Path, `{"instances":[[1,2,"3"]]}`, 400, "instances[0][2] is a text; want a number"},
		{"too deep", v1Path, `{"instances":[[[1,2,3]]]}`, 400, "instances[0][0] is a list; want a number"},
		{"too large", v1Path, `{"instances":[[1,2,-1e999]]}`, 400, "instances[0][2] is -1e999, which is too large; want a number"},
		{"row of text", v1Path, `{"instances":["1,2,3"]}`, 400, "instances[0] is a text; want a list of 3 values, or an object"},
		{"bare number", v1Path, `{"instances":[1]}`, 400, "instances[0] is a number; want a list of 3 values, or an object"},
		{"bare truth", v1Path, `{"instances":[true]}`, 400, "instances[0] is a truth value; want a list of 3 values, or an object"},
		{"unknown feature", v1Path, `{"instances":[{"a":1,"z":2}]}`, 400, `instances[0] has "z", which is no feature; the features are "a", "b\"é", "<c>"`},
		{"missing features", v1Path, `{"instances":[[1,2,3],{"a":1}]}`, 400, `instances[1] lacks "b\"é", "<c>"`},
		{"feature twice", v1Path, `{"instances":[{"a":1,"a":2}]}`, 400, `instances[0] has "a" twice`},
		{"many missing", "/v1/models/many:predict", `{"instances":[{}]}`, 400, `instances[0] lacks ` + strings.Repeat(`"x", `, 9) + `"x", and 2 more`},
		{"a list for a category", "/v1/models/mixed:predict", `{"instances":[[1,[],2,3]]}`, 400, "instances[0][1] is a list; want a text or a number"},
		{"text for a number", "/v1/models/mixed:predict", `{"instances":[{"user":{"score":"1"}}]}`, 400, `instances[0]["user.score"] is a text; want a number`},
		{"an object for a number", "/v1/models/mixed:predict", `{"instances":[{"age":{"x":1}}]}`, 400, `instances[0]["age"] is an object; want a number`},
		{
			"unknown field within", "/v1/models/mixed:predict", `{"instances":[{"user":{"plan":"a","rank":1}}]}`, 400,
			`instances[0] has "user.rank", which is no feature; the features are "age", "city", "user.score", "user.plan"`,
		},
		{"feature twice in two ways", "/v1/models/mixed:predict", `{"instances":[{"user":{"plan":"a"},"user.plan":"b"}]}`, 400, `instances[0] has "user.plan" twice`},
		{"a list too long", "/v1/models/pixels:predict", `{"instances":[{"p":[0,1,2]}]}`, 400, `instances[0] has "p.2", which is no feature; the features are "p.0", "p.1"`},
		{"too wide beyond", "/v1/models/mixed:predict", `{"instances":[[1,"a",2,"b","c"]]}`, 400, "instances[0][4] is a text; want a number"},
		{
			"too many values that are not there", "/v1/models/wide:predict", `{"instances":[` + strings.Repeat("{},", 1024) + `{}]}`, 413,
			"1025 rows of 1024 features; at most 1048576 values are answered at once",
		},
		{
			"too many inputs that are not there", "/v2/models/wide/infer", v2("3", "BOOL", "[1025]", "["+strings.Repeat("1,", 1024)+"1]"), 413,
			"1025 rows of 1024 features; at most 1048576 values are answered at once",
		},
		{"no such model", "/v1/models/none:predict", `{"instances":[[1]]}`, 404, `no model "none"`},
		{"no such verb", "/v1/models/logistic:classify", `{}`, 404, "no such path; predictions are at /v1/models/{name}:predict"},
		{"learned nothing", "/v1/models/young:predict", `{"instances":[[1]]}`, 503, `predictions of model "young": the model has no state yet`},
		{"broken", "/v1/models/broken:predict", `{"instances":[[1]]}`, 500, `predictions of model "broken": out of order`},
		{"explain what", v1Path + "?explain=perhaps", `{"instances":[[1,2,3]]}`, 400, `explain is "perhaps"; want true or false`},
		{"too many values", v1Path, `{"instances":[[` + strings.Repeat("1,", maxValues+1) + `1]]}`, 413, "the body has more than 1048576 values"},
		{"too many rows", "/v1/models/one:predict", `{"instances":[` + strings.Repeat("1,", maxRows) + `1]}`, 413, "65537 rows; at most 65536 are answered at once"},
		{
			"too many to explain", v1Path + "?explain=true", `{"instances":[` + strings.Repeat("[1,2,3],", maxExplained/3) + `[1,2,3]]}`, 413,
			"3334 rows of 3 features; at most 10000 values are explained at once",
		},
		{"too large a body", v1Path, strings.Repeat(" ", maxBody+1), 413, "the body has 8388609 bytes; at most 8388608 are read"},

		{"nothing", v2Path, `{}`, 400, `no inputs; want one input of the name "features", or one for each feature`},
		{"inputs that are none", v2Path, `{"inputs":{"name":"features"}}`, 400, "inputs is of JSON type object, at byte 11; want a list"},
		{"an input that is none", v2Path, `{"inputs":[[1,2,3]]}`, 400, "inputs is of JSON type array, at byte 12; want an object"},
		{"an input of null", v2Path, `{"inputs":[null]}`, 400, "inputs[0] is null; want an object"},
		{"too many inputs", v2Path, `{"inputs":[` + strings.Repeat("{},", maxObjects) + `{}]}`, 413, "the body has more than 131072 objects"},
		{"id that is a number", v2Path, `{"id":7}`, 400, "id is of JSON type number, at byte 7; want a text"},
		{"long id", v2Path, `{"id":"` + strings.Repeat("<", maxID+1) + `"}`, 400, "id has 1025 bytes; want at most 1024"},
		{"shape of text", v2Path, v2("features", "FP64", `["1",3]`, "[1,2,3]"), 400, "inputs.shape is of JSON type string, at byte 60; want a whole number"},
		{"shape of fractions", v2Path, v2("features", "FP64", `[1.5,3]`, "[1,2,3]"), 400, "inputs.shape is of JSON type number 1.5, at byte 60; want a whole number"},
		{"too narrow", v2Path, v2("features", "FP64", "[1,2]", "[1,2]"), 400, `input "features" has shape [1, 2]; want [rows, 3]`},
		{"a row too narrow", v2Path, v2("features", "FP64", "[2]", "[1,2]"), 400, `input "features" has shape [2]; want [rows, 3]`},
		{"less data than shape", v2Path, v2("features", "FP64", "[2,3]", "[1,2,3]"), 400, `input "features": data has 3 values, which do not fit shape [2, 3]`},
		{"lists of another shape", v2Path, v2("features", "FP64", "[2,3]", "[[1,2],[3,4],[5,6]]"), 400, `input "features": data has lists of 2 values, which do not fit shape [2, 3]`},
		{"lists for one row", v2Path, v2("features", "FP64", "[3]", "[[1,2,3]]"), 400, `input "features": data has lists of 3 values, which do not fit shape [3]`},
		{"ragged", v2Path, v2("features", "FP64", "[2,3]", "[[1,2,3],[1,2]]"), 400, `input "features": data[1] has 2 values, and data[0] has 3`},
		{"mixed", v2Path, v2("features", "FP64", "[2,3]", "[1,[2,3]]"), 400, `input "features": data[1] is a list; want a value`},
		{"mixed the other way", v2Path, v2("features", "FP64", "[2,3]", "[[1,2,3],4]"), 400, `input "features": data[1] is a number; want a list, as data[0] is`},
		{"empty list", v2Path, v2("features", "FP64", "[1,3]", "[[]]"), 400, `input "features": data[0] is empty`},
		{"any number of rows", v2Path, v2("features", "FP64", "[-1,3]", "[1,2,3]"), 400, `input "features": data has 3 values, which do not fit shape [-1, 3]`},
		{"overflow", v2Path, v2("features", "FP64", "[6148914691236517206,3]", "[1,2]"), 400, `input "features": data has 2 values, which do not fit shape [6148914691236517206, 3]`},
		{"no shape", v2Path, `{"inputs":[{"name":"features","datatype":"FP64","data":[1,2,3]}]}`, 400, `input "features": shape has 0 dimensions; want 1 or 2`},
		{"deep shape", v2Path, v2("features", "FP64", "[1,1,3]", "[1,2,3]"), 400, `input "features": shape has 3 dimensions; want 1 or 2`},
		{"no data", v2Path, `{"inputs":[{"name":"features","datatype":"FP64","shape":[1,3]}]}`, 400, `input "features": no data`},
		{"data of null", v2Path, v2("features", "FP64", "[1,3]", "null"), 400, `input "features": data is null; want a list of values`},
		{"text in data", v2Path, v2("features", "FP64", "[1,3]", `[1,2,"NaN"]`), 400, `input "features": data[2] is a text; want a number`},
		{"truth values", v2Path, v2("features", "FP64", "[1,3]", `[1,2,true]`), 400, `input "features": data has truth values, which are no FP64`},
		{"text in a list", v2Path, v2("features", "FP64", "[2,3]", `[[1,2,3],[null,"","NaN"]]`), 400, `input "features": data[1][1] is a text; want a number`},
		{"texts", v2Path, v2("features", "BYTES", "[1,3]", `["a","b","c"]`), 400, `input "features" has datatype BYTES; the features are numbers`},
		{"no such datatype", v2Path, v2("features", "STRING", "[1,3]", `["a","b","c"]`), 400, `input "features": datatype "STRING"; want FP64, FP32, FP16, BOOL, BYTES, or one of INT8 to INT64 and UINT8 to UINT64`},
		{"no datatype", v2Path, `{"inputs":[{"name":"features","shape":[1,3],"data":[1,2,3]}]}`, 400, `input "features": datatype ""; want FP64, FP32, FP16, BOOL, BYTES, or one of INT8 to INT64 and UINT8 to UINT64`},
		{"fraction", v2Path, v2("features", "INT8", "[1,3]", `[1,2.5,3]`), 400, `input "features": data has 2.5, which is no INT8`},
		{"out of range", v2Path, v2("features", "UINT8", "[1,3]", `[1,-2,3]`), 400, `input "features": data has -2, which is no UINT8`},
		{"too large", v2Path, v2("features", "FP64", "[1,3]", `[1,2,1e309]`), 400, `input "features": data[2] is 1e309, which is too large; want a value`},
		{"another name", v2Path, v2("input-0", "FP64", "[1,3]", "[1,2,3]"), 400, `input "input-0" is no feature; want one input of the name "features", or one for each of the features "a", "b\"é", "<c>"`},
		{"missing features", v2Path, v2("a", "FP64", "[1]", "[1]"), 400, `no input for "b\"é", "<c>"`},
		{"feature twice", v2Path, `{"inputs":[{"name":"a","datatype":"FP64","shape":[1],"data":[1]},{"name":"a","datatype":"FP64","shape":[1],"data":[1]}]}`, 400, `input "a" is given twice`},
		{
			"rows in one input", "/v2/models/mixed/infer", v2("features", "FP64", "[1,4]", "[1,2,3,4]"), 400,
			`input "features" is no feature; want one for each of the features "age", "city", "user.score", "user.plan"`,
		},
		{"no inputs of categories", "/v2/models/mixed/infer", `{}`, 400, "no inputs; want one for each feature"},
		{"texts for a number", "/v2/models/mixed/infer", v2("age", "BYTES", "[1]", `["1"]`), 400, `input "age" has datatype BYTES; the feature is a number`},
		{"numbers for texts", "/v2/models/mixed/infer", v2("city", "BYTES", "[2]", `["1",1]`), 400, `input "city": data[1] is a number; want a text`},
		{"other number of rows", v2Path, `{"inputs":[{"name":"a","datatype":"FP64","shape":[1],"data":[1]},{"name":"<c>","datatype":"FP64","shape":[2],"data":[1,2]}]}`, 400, `input "<c>" has 2 rows, and "a" has 1`},
		{"columns of two", v2Path, v2("a", "FP64", "[1,2]", "[1,2]"), 400, `input "a" has shape [1, 2]; want [rows] or [rows, 1]`},
		{"no such output", v2Path, `{"inputs":[{"name":"features","datatype":"FP64","shape":[1,3],"data":[1,2,3]}],"outputs":[{"name":"base"}]}`, 400, `no output "base"; there are "probabilities", "label"`},
		{"output twice", v2Path, `{"inputs":[{"name":"features","datatype":"FP64","shape":[1,3],"data":[1,2,3]}],"outputs":[{"name":"label"},{"name":"label"}]}`, 400, `output "label" is asked for twice`},
		{
			"old version", "/v2/models/logistic/versions/1f.12344/infer", v2("features", "FP64", "[1,3]", "[1,2,3]"), 404,
			`model "logistic" has no version "1f.12344": only the newest is kept, which is "1f.12345" now`,
		},
		{"no such model", "/v2/models/none/infer", `{}`, 404, `no model "none"`},
		{"learned nothing", "/v2/models/young/infer", `{}`, 503, `predictions of model "young": the model has no state yet`},
	} {
		t.Run(c.path+" "+c.name, func(t *testing.T) {
			f := *f
			f.t = t
			got := f.send("POST", c.path, c.body)
			var body failure
			if err := json.Unmarshal([]byte(got.body), &body); err != nil {
				t.Fatalf("%v in %s", err, got.body)
			}
			if got.code != c.code || body.Error != c.want {
				t.Errorf("%d %s\nwant %d %s", got.code, body.Error, c.code, c.want)
			}
			if strings.Contains(got.body, known) != strings.HasPrefix(c.want, "no model") {
				t.Errorf("models: %s", got.body)
			}
			if (got.header.Get("Retry-After") == "1") != (c.code == 503) {
				t.Errorf("Retry-After: %q", got.header.Get("Retry-After"))
			}
		})
	}
	for _, seen := range f.requests.seen {
		if strings.HasPrefix(seen, "logistic ") || strings.HasPrefix(seen, "one ") {
			t.Errorf("rows were counted: %s", seen)
		}
	}
}

// What is not in the body: methods, headers, and a length that is not told.
func TestPredictionsRefusedByTheHead(t *testing.T) {
	f := start(t, nil, nil)
	for _, c := range []struct {
		method, path string
		code         int
		allow        string
	}{
		{"GET", v1Path, 405, "POST"},
		{"HEAD", v2Path, 405, "POST"},
		{"PUT", "/v2/models/logistic/versions/1/infer", 405, "POST"},
		{"POST", "/v2/models/logistic", 405, "GET, HEAD"},
		{"POST", "/v2", 405, "GET, HEAD"},
		{"DELETE", "/openapi.yaml", 405, "GET, HEAD"},
		{"POST", "/v1/models/logistic", 404, ""},
		{"GET", "/v2/", 404, ""},
	} {
		if got := f.do(c.method, c.path); got.code != c.code || got.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q; want %d, %q", c.method, c.path, got.code, got.header.Get("Allow"), c.code, c.allow)
		}
	}
	good := `{"instances":[[1,2,3]]}`
	if got := f.send("POST", v1Path, good, "Content-Encoding", "gzip"); got.code != 415 || !strings.Contains(got.body, `encoded as \"gzip\"`) {
		t.Errorf("encoded: %d %s", got.code, got.body)
	}
	if got := f.send("POST", v1Path, good, "Content-Encoding", "identity"); got.code != 200 {
		t.Errorf("not encoded: %d %s", got.code, got.body)
	}
	if got := f.send("POST", v2Path, good, "Inference-Header-Content-Length", "20"); got.code != 400 || !strings.Contains(got.body, "binary") {
		t.Errorf("binary: %d %s", got.code, got.body)
	}
	for _, c := range []struct {
		size int
		code int
	}{{maxBody, 200}, {maxBody + 1, 413}} {
		resp, err := f.client.Post("http://"+f.server.Addr().String()+v1Path, "application/json",
			io.MultiReader(strings.NewReader(good), strings.NewReader(strings.Repeat(" ", c.size-len(good)))))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != c.code {
			t.Errorf("a body of %d bytes whose length is not told: %d, want %d", c.size, resp.StatusCode, c.code)
		}
	}
	if got := f.raw("POST " + v1Path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"); !strings.Contains(got, " 400 ") || !strings.Contains(got, "read the body: ") {
		t.Errorf("a body that breaks off: %q", got)
	}
}

func TestV2About(t *testing.T) {
	f := start(t, nil, nil)
	for _, c := range []struct {
		path string
		code int
		want string
	}{
		{"/v2", 200, `{"name":"learner","version":"1.2.3","extensions":[]}`},
		{"/v2/health/live", 200, `{"live":true}`},
		{"/v2/health/ready", 503, `{"ready":false,"reasons":["model young: the model has no state yet","model broken: out of order",` +
			`"model stuck: no such model","model od\"d \u003cb\u003e: no such model"]}`},
		{"/v2/models/logistic", 200, `{"name":"logistic","versions":["1f.12345"],"platform":"learner_echo",` +
			`"inputs":[{"name":"features","datatype":"FP64","shape":[-1,3]}],` +
			`"outputs":[{"name":"probabilities","datatype":"FP64","shape":[-1,2]},{"name":"label","datatype":"INT64","shape":[-1]}],` +
			`"features":["a","b\"é","\u003cc\u003e"]}`},
		{"/v2/models/mixed", 200, `{"name":"mixed","versions":["2a.9"],"platform":"learner_echo",` +
			`"inputs":[{"name":"age","datatype":"FP64","shape":[-1]},{"name":"city","datatype":"BYTES","shape":[-1]},` +
			`{"name":"user.score","datatype":"FP64","shape":[-1]},{"name":"user.plan","datatype":"BYTES","shape":[-1]}],` +
			`"outputs":[{"name":"probabilities","datatype":"FP64","shape":[-1,2]},{"name":"label","datatype":"INT64","shape":[-1]}],` +
			`"features":["age","city","user.score","user.plan"]}`},
		{"/v2/models/logistic/ready", 200, `{"name":"logistic","ready":true}`},
		{"/v2/models/logistic/versions/1f.12345/ready", 200, `{"name":"logistic","ready":true}`},
		{"/v2/models/logistic/versions/2/ready", 404, `{"error":"model \"logistic\" has no version \"2\": only the newest is kept, which is \"1f.12345\" now"}`},
		{"/v2/models/logistic/versions/2", 404, `{"error":"model \"logistic\" has no version \"2\": only the newest is kept, which is \"1f.12345\" now"}`},
		{"/v2/models/young", 503, `{"error":"predictions of model \"young\": the model has no state yet"}`},
		{"/v2/models/young/ready", 503, `{"error":"predictions of model \"young\": the model has no state yet"}`},
		{"/v2/models/none", 404, `{"error":"no model \"none\"","models":["logistic","young","broken","stuck","od\"d \u003cb\u003e"]}`},
	} {
		if got := f.do("GET", c.path); got.code != c.code || got.body != c.want+"\n" {
			t.Errorf("%s: %d %s, want %d %s", c.path, got.code, got.body, c.code, c.want)
		}
	}

	var ready atomic.Bool
	f = start(t, func(cfg *Config) {
		cfg.Predictor = func(string) (Predictor, error) { return predictor("one") }
		cfg.Alive = func() error { return errors.New("no batch border for 60 s") }
		cfg.Unready = func() []string {
			if ready.Load() {
				return nil
			}
			return []string{"catching up"}
		}
	}, nil)
	if got := f.do("GET", "/v2/health/ready"); got.code != 503 || got.body != `{"ready":false,"reasons":["catching up"]}`+"\n" {
		t.Errorf("not ready: %d %s", got.code, got.body)
	}
	ready.Store(true)
	if got := f.do("GET", "/v2/health/ready"); got.code != 200 || got.body != `{"ready":true,"reasons":[]}`+"\n" {
		t.Errorf("ready: %d %s", got.code, got.body)
	}
	if got := f.do("GET", "/v2/health/live"); got.code != 503 || got.body != `{"error":"no batch border for 60 s"}`+"\n" {
		t.Errorf("not alive: %d %s", got.code, got.body)
	}
}

// Large requests take turns: one too many waits, and is refused if no turn comes. Small ones are answered meanwhile.
func TestLargeRequestsTakeTurns(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	f := start(t, func(cfg *Config) {
		cfg.Predictor = func(model string) (Predictor, error) {
			p, err := predictor(model)
			p.Explain = func([]float64, *Rows, int) float64 {
				entered <- struct{}{}
				<-leave
				return 0
			}
			return p, err
		}
	}, nil)
	const one = `{"instances":[[0.5,0,0]]}`
	var clients sync.WaitGroup
	for range maxLarge {
		clients.Go(func() {
			if got := f.send("POST", v1Path+"?explain=true", one); got.code != 200 {
				t.Errorf("a large request with a turn: %d %s", got.code, got.body)
			}
		})
	}
	for range maxLarge {
		<-entered
	}
	large := one + strings.Repeat(" ", smallBody)
	if got := f.send("POST", v1Path, large); got.code != 503 || got.header.Get("Retry-After") != "1" || !strings.Contains(got.body, "too many large requests") {
		t.Errorf("one large request too many: %d %s", got.code, got.body)
	}
	if got := f.send("POST", v1Path, one+strings.Repeat(" ", smallBody-len(one))); got.code != 200 {
		t.Errorf("a small request meanwhile: %d %s", got.code, got.body)
	}
	waiting := make(chan reply)
	go func() { waiting <- f.send("POST", v1Path, large) }()
	close(leave)
	if got := <-waiting; got.code != 200 {
		t.Errorf("a large request that waited: %d %s", got.code, got.body)
	}
	clients.Wait()
}

// All rows of an answer are by one snapshot, and its version is that one's, while other requests and the middle of this one
// bring new snapshots.
func TestAnswersAreOfOneSnapshot(t *testing.T) {
	var now atomic.Pointer[Predictor]
	var published atomic.Uint64
	var publish func()
	publish = func() {
		i := published.Add(1)
		prob := float64(i%1024) / 1024
		now.Store(&Predictor{
			Model: "logistic", Version: strconv.FormatUint(i, 10), Columns: numbers("a"),
			Predict: func(dst []float64, _ *Rows) {
				for i := range dst {
					dst[i] = prob
					publish()
				}
			},
		})
	}
	publish()
	s := New(Config{
		Predictor: func(string) (Predictor, error) { return *now.Load(), nil },
		Observer:  silent{}, Log: zap.NewNop(), Metrics: http.NotFoundHandler(),
	})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range 500 {
				answer := httptest.NewRecorder()
				s.http.Handler.ServeHTTP(answer, httptest.NewRequest("POST", v1Path, strings.NewReader(`{"instances":[1,2,3]}`)))
				var got v1Answer
				if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
					t.Errorf("%v in %s", err, answer.Body)
					return
				}
				i, err := strconv.ParseUint(got.Version, 10, 64)
				want := float64(i%1024) / 1024
				if err != nil || !slices.Equal(got.Predictions, []float64{want, want, want}) {
					t.Errorf("version %s with %v, want three times %v", got.Version, got.Predictions, want)
				}
			}
		})
	}
	clients.Wait()
	if n := published.Load(); n != 1+4*500*3 {
		t.Errorf("%d snapshots", n)
	}
}

// Probabilities come back with all their bits.
func TestProbabilitiesRoundTrip(t *testing.T) {
	const seed = 7
	r := rand.New(rand.NewPCG(seed, seed))
	prob := []float64{0, math.SmallestNonzeroFloat64, 1e-300, 1e-7, 0.1, 0.5, 1 - 0x1p-53, 1}
	for range 1000 {
		prob = append(prob, r.Float64(), math.Exp(-30*r.Float64()))
	}
	f := start(t, func(cfg *Config) {
		cfg.Predictor = func(string) (Predictor, error) {
			p := echo("logistic", "1", numbers("a"))
			p.Predict = func(dst []float64, _ *Rows) { copy(dst, prob) }
			return p, nil
		}
	}, nil)
	rows := strings.TrimSuffix(strings.Repeat("0,", len(prob)), ",")
	var v1Got v1Answer
	if err := json.Unmarshal([]byte(f.send("POST", v1Path, `{"instances":[`+rows+`]}`).body), &v1Got); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(v1Got.Predictions, prob) {
		t.Errorf("seed %d: v1 changes bits", seed)
	}
	var v2Got struct{ Outputs []struct{ Data []float64 } }
	if err := json.Unmarshal([]byte(f.send("POST", v2Path, v2("features", "FP64", fmt.Sprintf("[%d]", len(prob)), "["+rows+"]")).body), &v2Got); err != nil {
		t.Fatal(err)
	}
	for i, want := range prob {
		if got := v2Got.Outputs[0].Data[2*i : 2*i+2]; got[1] != want || got[0] != 1-want {
			t.Fatalf("seed %d: v2 answers %v for %v", seed, got, want)
		}
	}
}

// FuzzPredict holds that any body is either answered or refused as the client's fault, in JSON.
func FuzzPredict(f *testing.F) {
	for _, body := range []string{
		`{"instances":[[0.25,1,2],{"a":1,"b\"é":true,"<c>":-1e-7}]}`,
		`{"instances":[{"\u0061":1,"\\":2}]}`,
		v2("features", "FP64", "[2,3]", "[[1,2,3],[4,5,6]]"),
		v2("features", "INT8", "[3]", "[1,2,3]"),
		`{"id":"x","inputs":[{"name":"a","shape":[1],"datatype":"BOOL","data":[true]}],"outputs":[{"name":"base"}]}`,
		`{"inputs":[{"data":[[],[1,null]]}]}`, `null`, `{"instances":[1e999]}`, ``,
	} {
		f.Add(true, true, []byte(body))
		f.Add(false, false, []byte(body))
	}
	s := New(Config{
		Models: models{}, Predictor: predictor, Observer: silent{}, Log: zap.NewNop(), Metrics: http.NotFoundHandler(),
	})
	f.Fuzz(func(t *testing.T, first, explain bool, body []byte) {
		path := v2Path
		if first {
			path = v1Path
		}
		got := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(got, httptest.NewRequest("POST", path+"?explain="+strconv.FormatBool(explain), bytes.NewReader(body)))
		var answer struct {
			Error       string
			Predictions []float64
			Outputs     []struct{ Shape []int }
		}
		if err := json.Unmarshal(got.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%v in %s", err, got.Body)
		}
		switch got.Code {
		case 200:
			if answer.Error != "" || len(answer.Predictions) == 0 && len(answer.Outputs) == 0 {
				t.Errorf("%s", got.Body)
			}
		case 400, 413:
			if answer.Error == "" {
				t.Errorf("%d %s", got.Code, got.Body)
			}
		default:
			t.Errorf("%d %s", got.Code, got.Body)
		}
	})
}

// FuzzData holds the reader of lists of values against encoding/json.
func FuzzData(f *testing.F) {
	for _, text := range []string{
		`[]`, `[1]`, ` [ 1 , -2.5e-3 ] `, `[[1,2],[3,4]]`, `[[1],[2,3]]`, `[1,[2]]`, `[true,false]`, `[null]`, `["]"]`, `[["a\u0062",null],["",1]]`, `{}`, `[1e400]`, `[[[1]]]`, `7`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var got data
		if err := json.Unmarshal(text, &got); err != nil {
			if json.Valid(text) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		var flat []any
		var want []float64
		width, ok := 0, json.Unmarshal(text, &flat) == nil && flat != nil
		for i, v := range flat {
			inner, nested := v.([]any)
			if i == 0 {
				width = len(inner)
				ok = ok && (!nested || width > 0)
			}
			if !nested {
				inner = []any{v}
			}
			ok = ok && nested == (width > 0) && (!nested || len(inner) == width)
			for _, v := range inner {
				switch v := v.(type) {
				case float64:
					want = append(want, v)
				case bool:
					want = append(want, map[bool]float64{true: 1}[v])
				case nil:
					want = append(want, math.NaN())
				case string:
					if len(want) < len(got.texts) && string(got.texts[len(want)]) != v && utf8.Valid(text) {
						t.Errorf("%q: %q, want %q", text, got.texts, v)
					}
					want = append(want, math.NaN())
				default:
					ok = false
				}
			}
		}
		if ok != (got.err == nil) {
			t.Fatalf("%q: %v, and encoding/json has %v", text, got.err, flat)
		}
		if ok && (!slices.EqualFunc(got.values, want, func(a, b float64) bool { return a == b || a != a && b != b }) || got.width != width) {
			t.Errorf("%q: %v of lists of %d, want %v of lists of %d", text, got.values, got.width, want, width)
		}
	})
}

// BenchmarkInfer is what a row costs beside net/http.
func BenchmarkInfer(b *testing.B) {
	features := make([]string, 18)
	values := make([]string, 18)
	for i := range features {
		features[i], values[i] = strconv.Itoa(i+1), fmt.Sprintf("%.18e", 0.5+float64(i)/7)
	}
	p := echo("logistic", "1f.12345", numbers(features...))
	s := New(Config{
		Predictor: func(string) (Predictor, error) { return p, nil }, Observer: silent{}, Log: zap.NewNop(), Metrics: http.NotFoundHandler(),
	})
	row := strings.Join(values, ",")
	object := make([]string, 18)
	for i := range object {
		object[i] = fmt.Sprintf("%q:%s", features[i], values[i])
	}
	for _, c := range []struct{ name, path, body string }{
		{"v2", v2Path, v2("features", "FP64", "[1,18]", "["+row+"]")},
		{"v1", v1Path, `{"instances":[[` + row + `]]}`},
		{"v1 by name", v1Path, `{"instances":[{` + strings.Join(object, ",") + `}]}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				answer := httptest.NewRecorder()
				s.http.Handler.ServeHTTP(answer, httptest.NewRequest("POST", c.path, strings.NewReader(c.body)))
				if answer.Code != 200 {
					b.Fatal(answer.Body)
				}
			}
		})
	}
}

// silent is an Observer that does nothing.
type silent struct{}

func (silent) Requested(string, string, int, time.Duration) {}
func (silent) Predicted(string, int, int)                   {}
