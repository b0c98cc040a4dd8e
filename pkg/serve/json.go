package serve

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
)

// Float is a float64 that JSON can always hold: NaN and infinities, which JSON does not know, become null.
type Float float64

// MarshalJSON implements [json.Marshaler].
func (f Float) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(f))
}

// writeJSON answers with value, or with an error that says why it cannot be written as JSON.
func writeJSON(w http.ResponseWriter, code int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		writeError(w, http.StatusInternalServerError, "write the answer as JSON: "+err.Error())
		return
	}
	body = append(body, '\n')
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(body) // a client that went away needs no answer
}

// failure is the body of every answer that is an error.
type failure struct {
	Error  string   `json:"error"`
	Models []string `json:"models,omitempty"` // what there is, where an unknown model was asked for
}

func writeError(w http.ResponseWriter, code int, text string) {
	writeJSON(w, code, failure{Error: text})
}
