package tools

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// loadCompose reads a compose file as docker compose does, with all profiles.
func loadCompose(t *testing.T, path string) (*types.Project, error) {
	t.Helper()
	opts, err := cli.NewProjectOptions([]string{path}, cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	return opts.LoadProject(t.Context())
}

func TestCompose(t *testing.T) {
	t.Parallel()
	project, err := loadCompose(t, filepath.Join(deploy, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"grafana", "kafka", "learner", "load", "prometheus", "schema-registry", "topics"}
	if got := project.ServiceNames(); !slices.Equal(got, want) {
		t.Errorf("services %q, want %q", got, want)
	}
	checkCompose(t, project)
}

func TestComposeCloud(t *testing.T) {
	t.Parallel()
	// A copy, beside a .env of the kind that README.md asks for.
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "deploy"), os.DirFS(deploy)); err != nil {
		t.Fatal(err)
	}
	env := "CCLOUD_BOOTSTRAP_ENDPOINT=example.com:9092\nCCLOUD_CLUSTER_API_KEY=key\nCCLOUD_CLUSTER_API_SECRET='a$b#c d'\n#LEARNER_MODELS=mix\n"
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(env), 0o600); err != nil {
		t.Fatal(err)
	}
	project, err := loadCompose(t, filepath.Join(dir, "deploy", "compose.cloud.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := project.ServiceNames(), []string{"grafana", "learner", "prometheus"}; !slices.Equal(got, want) {
		t.Errorf("services %q, want %q", got, want)
	}
	checkCompose(t, project)
	for name, want := range map[string]string{
		"CCLOUD_BOOTSTRAP_ENDPOINT": "example.com:9092", "CCLOUD_CLUSTER_API_KEY": "key", "CCLOUD_CLUSTER_API_SECRET": "a$b#c d",
	} {
		if got := project.Services["learner"].Environment[name]; got == nil || *got != want {
			t.Errorf("%s is %v, want %q", name, got, want)
		}
	}
}

// checkCompose looks at what every service has to keep to.
func checkCompose(t *testing.T, project *types.Project) {
	t.Helper()
	for name, s := range project.Services {
		if s.Build == nil && (!strings.Contains(s.Image, ":") || strings.HasSuffix(s.Image, ":latest")) {
			t.Errorf("%s: image %q is not pinned", name, s.Image)
		}
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s: cap_drop %q, security_opt %q", name, s.CapDrop, s.SecurityOpt)
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is published on %q, want this machine alone", name, p.Published, p.HostIP)
			}
		}
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
				t.Errorf("%s: %s: read-only %v, error %v", name, v.Source, v.ReadOnly, err)
			}
		}
	}
	learner := project.Services["learner"]
	if !learner.ReadOnly || learner.StopGracePeriod == nil {
		t.Errorf("learner: read_only %v, stop_grace_period %v", learner.ReadOnly, learner.StopGracePeriod)
	}
	if limit := int64(learner.MemLimit); *learner.Environment["GOMEMLIMIT"] != goMemLimit(limit) {
		t.Errorf("learner: GOMEMLIMIT %s, want %s of %d bytes", *learner.Environment["GOMEMLIMIT"], goMemLimit(limit), limit)
	}
}

func TestComposeRefuses(t *testing.T) {
	t.Parallel()
	for name, give := range map[string]string{
		"an unknown key":            "services: {a: {image: b, imagge: c}}",
		"a value of the wrong type": "services: {a: {image: b, read_only: 3}}",
		"an unknown dependency":     "services: {a: {image: b, depends_on: [c]}}",
		"an undeclared volume":      "services: {a: {image: b, volumes: [{type: volume, source: c, target: /d}]}}",
	} {
		path := filepath.Join(t.TempDir(), "compose.yaml")
		if err := os.WriteFile(path, []byte("name: broken\n"+give), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadCompose(t, path); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
