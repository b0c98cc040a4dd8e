package tools

import (
	"context"
	"os"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
)

// noImages answers for the registry: nothing is known of any image.
type noImages struct{}

func (noImages) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return ref, "", []byte("{}"), nil
}

// lint returns what docker build --check says of a Dockerfile.
func lint(t *testing.T, text []byte) (found []string) {
	t.Helper()
	results, err := dockerfile2llb.DockerfileLint(t.Context(), text, dockerfile2llb.ConvertOpt{
		MetaResolver: noImages{},
		SourceMap:    &llb.SourceMap{Filename: "Dockerfile", Data: text, Definition: &llb.Definition{Def: [][]byte{}, Metadata: nil, Source: &pb.Source{}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if results.Error != nil {
		found = append(found, results.Error.Message)
	}
	for _, w := range results.Warnings {
		found = append(found, w.RuleName+": "+w.Detail)
	}
	return found
}

func TestDockerfile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if found := lint(t, text); len(found) > 0 {
		t.Errorf("%q", found)
	}
}

func TestDockerfileFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, give := range map[string]string{
		"an unknown instruction": "FROM scratch\nCOPPY a b\n",
		"a shell for a command":  "FROM scratch\nENTRYPOINT /learner\n",
		"an unknown stage":       "FROM scratch\nCOPY --from=9 a b\n",
		"a secret":               "FROM scratch\nENV API_SECRET=x\n",
	} {
		if found := lint(t, []byte(give)); len(found) == 0 {
			t.Errorf("%s was not found", name)
		}
	}
}
