package tools

import (
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestMonitoringFits looks whether Prometheus, Grafana, and the compose file speak of the same places.
func TestMonitoringFits(t *testing.T) {
	t.Parallel()
	var prometheus struct {
		Global struct {
			ScrapeInterval     string `json:"scrape_interval"`
			EvaluationInterval string `json:"evaluation_interval"`
		} `json:"global"`
		RuleFiles     []string `json:"rule_files"`
		ScrapeConfigs []struct {
			JobName       string `json:"job_name"`
			StaticConfigs []struct {
				Targets []string `json:"targets"`
			} `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	var sources struct {
		APIVersion  int `json:"apiVersion"`
		Datasources []struct {
			Name, Type, UID, URL string
			IsDefault            bool
			JSONData             struct{ HTTPMethod, TimeInterval string }
		}
	}
	var dashboards struct {
		APIVersion int `json:"apiVersion"`
		Providers  []struct {
			Name, Type     string
			AllowUIUpdates bool
			Options        struct{ Path string }
		}
	}
	for path, dst := range map[string]any{
		"prometheus/prometheus.yml":                        &prometheus,
		"grafana/provisioning/datasources/prometheus.yaml": &sources,
		"grafana/provisioning/dashboards/learner.yaml":     &dashboards,
	} {
		if err := yaml.UnmarshalStrict(read(t, path), dst); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	project, err := loadCompose(t, filepath.Join(deploy, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}

	if got, want := sources.Datasources[0].JSONData.TimeInterval, prometheus.Global.ScrapeInterval; got != want {
		t.Errorf("Grafana's interval is %s, that of Prometheus %s", got, want)
	}
	for _, place := range []string{prometheus.ScrapeConfigs[0].StaticConfigs[0].Targets[0], strings.TrimPrefix(sources.Datasources[0].URL, "http://")} {
		service, port, _ := strings.Cut(place, ":")
		if ports := project.Services[service].Ports; len(ports) != 1 || ports[0].Published != port {
			t.Errorf("%s is asked, where there is %v", place, ports)
		}
	}
	// In Grafana's container and in that of Prometheus.
	mounted := map[string]string{
		dashboards.Providers[0].Options.Path:                       "dashboards/learner.json",
		"/etc/prometheus/" + filepath.Dir(prometheus.RuleFiles[0]): "rules/learner.yaml",
	}
	for _, service := range []string{"grafana", "prometheus"} {
		for _, v := range project.Services[service].Volumes {
			if file := mounted[v.Target]; file != "" && strings.HasSuffix(v.Source, "/"+filepath.Dir(file)) {
				read(t, service+"/"+file)
				delete(mounted, v.Target)
			}
		}
	}
	if len(mounted) > 0 {
		t.Errorf("no volume for %v", mounted)
	}
}
