package tools

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

const (
	chart   = deploy + "/helm/learner"
	overlay = deploy + "/kubernetes/overlays/confluent-cloud"
	base    = deploy + "/kubernetes/base"
	// kubernetesVersion is the oldest that the manifests are for, and the newest that kubectl-validate has on board.
	kubernetesVersion = "1.30"
)

// run runs the program that the environment variable names, and returns its output.
func run(t *testing.T, variable string, args ...string) (string, error) {
	t.Helper()
	program := os.Getenv(variable)
	if program == "" {
		t.Fatalf("%s is not set; .ci/deploy installs the programs and sets it", variable)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %q: %w\n%s%s", program, args, err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// write writes a file for one test and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func kustomize(t *testing.T, dir string) manifests {
	t.Helper()
	text, err := run(t, "KUSTOMIZE", "build", dir)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, text)
}

// template renders the chart, as release learner, with the values, which are YAML.
func template(t *testing.T, values string) (string, error) {
	t.Helper()
	return run(t, "HELM", "template", "learner", chart, "--kube-version", kubernetesVersion, "--values", write(t, values))
}

// validate returns what kubectl-validate has against a manifest.
func validate(t *testing.T, text string) error {
	t.Helper()
	_, err := run(t, "KUBECTL_VALIDATE", "--version", kubernetesVersion, write(t, text))
	return err
}

// manifests are the objects of one installation as YAML, by kind/name.
type manifests map[string]string

func parse(t *testing.T, text string) manifests {
	t.Helper()
	all := make(manifests)
	for doc := range strings.SplitSeq("\n"+text, "\n---\n") {
		var object metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(doc), &object); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if object.Kind != "" {
			all[object.Kind+"/"+object.Name] = doc
		}
	}
	return all
}

// get decodes one of the objects into dst, in which each field of it must have a place.
func (m manifests) get(t *testing.T, name string, dst any) {
	t.Helper()
	if m[name] == "" {
		t.Fatalf("there is no %s", name)
	}
	if err := yaml.UnmarshalStrict([]byte(m[name]), dst); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// check validates all objects and looks at what every installation has to keep to.
func (m manifests) check(t *testing.T) {
	t.Helper()
	for name, doc := range m {
		switch kind, _, _ := strings.Cut(name, "/"); kind {
		case "ServiceMonitor": // kubectl-validate knows nothing of the Prometheus operator
			m.get(t, name, new(monitoringv1.ServiceMonitor))
		case "PrometheusRule":
			m.get(t, name, new(monitoringv1.PrometheusRule))
		case "Secret":
			t.Errorf("%s: secrets are made by hand", name)
		default:
			if err := validate(t, doc); err != nil {
				t.Error(err)
			}
		}
	}
	d, budget, service := new(appsv1.Deployment), new(policyv1.PodDisruptionBudget), new(corev1.Service)
	m.get(t, "Deployment/learner", d)
	m.get(t, "PodDisruptionBudget/learner", budget)
	m.get(t, "Service/learner", service)
	if d.Spec.Selector == nil || budget.Spec.Selector == nil {
		t.Fatal("a selector is missing")
	}
	pod := d.Spec.Template.Labels
	for what, selector := range map[string]map[string]string{
		"Deployment": d.Spec.Selector.MatchLabels, "PodDisruptionBudget": budget.Spec.Selector.MatchLabels, "Service": service.Spec.Selector,
	} {
		if len(selector) == 0 {
			t.Errorf("%s selects all pods", what)
		}
		for key, value := range selector {
			if pod[key] != value {
				t.Errorf("%s selects %v, which pods with %v are not", what, selector, pod)
			}
		}
	}
	if budget.Spec.MaxUnavailable == nil || *budget.Spec.MaxUnavailable != intstr.FromInt32(1) {
		t.Errorf("PodDisruptionBudget: maxUnavailable %v, want 1", budget.Spec.MaxUnavailable)
	}
	checkPod(t, &d.Spec.Template.Spec)
}

// checkPod looks at what makes a pod safe to run and to update.
func checkPod(t *testing.T, pod *corev1.PodSpec) {
	t.Helper()
	yes, no, user := true, false, int64(65532)
	c := pod.Containers[0]
	for _, field := range []struct {
		name      string
		got, want any
	}{
		{"securityContext", pod.SecurityContext, &corev1.PodSecurityContext{
			RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user, FSGroup: &user,
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		}},
		{"container's securityContext", c.SecurityContext, &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}},
		{"automountServiceAccountToken", pod.AutomountServiceAccountToken, &no},
		{"enableServiceLinks", pod.EnableServiceLinks, &no},
		{"startup probe", c.StartupProbe.HTTPGet.Path, "/healthz"},
		{"liveness probe", c.LivenessProbe.HTTPGet.Path, "/healthz"},
		{"readiness probe", c.ReadinessProbe.HTTPGet.Path, "/readyz"},
		{"limit of CPU time", c.Resources.Limits.Cpu().IsZero(), true},
		{"request of CPU time", c.Resources.Requests.Cpu().IsZero(), false},
		{"request of memory", c.Resources.Requests.Memory().IsZero(), false},
		{"GOMEMLIMIT", variable(c, "GOMEMLIMIT").Value, goMemLimit(c.Resources.Limits.Memory().Value())},
		{"LEARNER_INSTANCE_ID", variable(c, "LEARNER_INSTANCE_ID").ValueFrom.FieldRef.FieldPath, "metadata.name"},
	} {
		if !reflect.DeepEqual(field.got, field.want) {
			t.Errorf("%s: %v, want %v", field.name, field.got, field.want)
		}
	}
}

func variable(c corev1.Container, name string) corev1.EnvVar {
	if i := slices.IndexFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == name }); i >= 0 {
		return c.Env[i]
	}
	return corev1.EnvVar{}
}

func TestKustomize(t *testing.T) {
	t.Parallel()
	kustomize(t, base).check(t)
	kustomize(t, overlay).check(t)
}

// valueSets are values of installations.
var valueSets = map[string]string{
	"an open cluster": `{config: {CCLOUD_BOOTSTRAP_ENDPOINT: "kafka:9092"}}`,
	"Confluent Cloud": `
image: {repository: registry.example.com/learner, tag: v0.1.0}
existingSecret: learner-confluent-cloud
config: {CCLOUD_BOOTSTRAP_ENDPOINT: "pkc-xxxxx.region.provider.confluent.cloud:9092", LEARNER_MODELS: mix}
`,
	"everything": `
replicas: 3
image: {repository: registry.example.com/learner, tag: v0.1.0, pullPolicy: Always}
imagePullSecrets: [{name: registry}]
existingSecret: learner
config: {LEARNER_MODELS: "mix;net=mlp:hidden=64x32", LEARNER_TWIN_AGE: "1000000", LEARNER_TLS_CA_FILE: /ca/ca.pem}
resources: {requests: {cpu: "2", memory: 1Gi}, limits: {memory: 3Gi}}
terminationGracePeriodSeconds: 120
volumes: [{name: ca, secret: {secretName: ca}}]
volumeMounts: [{name: ca, mountPath: /ca, readOnly: true}]
service: {type: LoadBalancer, port: 80, annotations: {a: b}}
serviceAccount: {name: learner-account, annotations: {c: d}}
podAnnotations: {e: f}
podLabels: {g: h}
nodeSelector: {kubernetes.io/arch: arm64}
tolerations: [{key: a, operator: Exists}]
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
serviceMonitor: {enabled: true, interval: 5s, labels: {release: prometheus}}
prometheusRule: {enabled: true, labels: {release: prometheus}}
dashboard: {enabled: true, annotations: {folder: learner}}
`,
	"names": `{existingSecret: a, nameOverride: b, fullnameOverride: learner, serviceAccount: {create: false}}`,
}

func TestHelm(t *testing.T) {
	t.Parallel()
	for name, values := range valueSets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := run(t, "HELM", "lint", "--strict", chart, "--kube-version", kubernetesVersion, "--values", write(t, values)); err != nil {
				t.Error(err)
			}
			text, err := template(t, values)
			if err != nil {
				t.Fatal(err)
			}
			parse(t, text).check(t)
		})
	}
}

// TestHelmIsLikeKustomize compares the two ways to install the same.
func TestHelmIsLikeKustomize(t *testing.T) {
	t.Parallel()
	text, err := template(t, valueSets["Confluent Cloud"])
	if err != nil {
		t.Fatal(err)
	}
	helm, other := new(appsv1.Deployment), new(appsv1.Deployment)
	parse(t, text).get(t, "Deployment/learner", helm)
	kustomize(t, overlay).get(t, "Deployment/learner", other)
	for _, d := range []*appsv1.Deployment{helm, other} {
		// These have names and labels that one of the two makes.
		d.Spec.Selector, d.Spec.Template.ObjectMeta = nil, metav1.ObjectMeta{}
		d.Spec.Template.Spec.Containers[0].EnvFrom[0].ConfigMapRef.Name = ""
		d.Spec.Template.Spec.TopologySpreadConstraints[0].LabelSelector = nil
		d.Spec.Template.Spec.Containers[0].ImagePullPolicy = ""
	}
	if !reflect.DeepEqual(helm.Spec, other.Spec) {
		one, _ := yaml.Marshal(helm.Spec)
		two, _ := yaml.Marshal(other.Spec)
		t.Errorf("helm:\n%s\nkustomize:\n%s", one, two)
	}
}

// TestHelmMonitoring looks whether rules and dashboard are those of the other ways to deploy.
func TestHelmMonitoring(t *testing.T) {
	t.Parallel()
	text, err := template(t, valueSets["everything"])
	if err != nil {
		t.Fatal(err)
	}
	all := parse(t, text)
	rule, dashboard := new(monitoringv1.PrometheusRule), new(corev1.ConfigMap)
	all.get(t, "PrometheusRule/learner", rule)
	all.get(t, "ConfigMap/learner-dashboard", dashboard)

	var want monitoringv1.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict(read(t, "prometheus/rules/learner.yaml"), &want); err != nil {
		t.Fatal(err)
	}
	if len(want.Groups) == 0 || !reflect.DeepEqual(rule.Spec, want) {
		t.Errorf("%d groups of rules differ from the %d of the file", len(rule.Spec.Groups), len(want.Groups))
	}
	file := string(read(t, "grafana/dashboards/learner.json"))
	if got := dashboard.Data["learner.json"]; strings.TrimSpace(got) != strings.TrimSpace(file) || dashboard.Labels["grafana_dashboard"] != "1" {
		t.Errorf("a dashboard of %d bytes with labels %v, want the file of %d", len(got), dashboard.Labels, len(file))
	}
}

// read returns a file of deploy.
func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, path))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestHelmChecksum changes the configuration, which has to change the pods.
func TestHelmChecksum(t *testing.T) {
	t.Parallel()
	sums := make(map[string]bool)
	for _, models := range []string{"mix", "zoo", "mix"} {
		text, err := template(t, "{existingSecret: a, config: {LEARNER_MODELS: "+models+"}}")
		if err != nil {
			t.Fatal(err)
		}
		var d appsv1.Deployment
		parse(t, text).get(t, "Deployment/learner", &d)
		sums[d.Spec.Template.Annotations["checksum/config"]] = true
	}
	if len(sums) != 2 {
		t.Errorf("checksums %v of two configurations", sums)
	}
}

func TestHelmRefuses(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]string{
		`{}`:                                 "no cluster is named",
		`{existingSecret: a, replica: 2}`:    "replica",
		`{existingSecret: a, replicas: two}`: "replicas",
		`{existingSecret: A_B}`:              "existingSecret",
		`{existingSecret: a, config: {CCLOUD_CLUSTER_API_KEY: b}}`:    "CCLOUD_CLUSTER_API_KEY",
		`{existingSecret: a, config: {CCLOUD_CLUSTER_API_SECRET: b}}`: "CCLOUD_CLUSTER_API_SECRET",
		`{existingSecret: a, config: {LEARNER_ADMIN_TOKEN: b}}`:       "LEARNER_ADMIN_TOKEN",
		`{existingSecret: a, config: {LEARNER_INSTANCE_ID: b}}`:       "LEARNER_INSTANCE_ID",
		`{existingSecret: a, config: {LEARNR_MODELS: mix}}`:           "LEARNR_MODELS",
		`{existingSecret: a, config: {LEARNER_SEED: 1}}`:              "LEARNER_SEED",
		`{existingSecret: a, resources: {limits: {memory: 512M}}}`:    "memory",
		`{existingSecret: a, image: {pullPolicy: Sometimes}}`:         "pullPolicy",
		`{existingSecret: a, service: {port: 70000}}`:                 "port",
		`{existingSecret: a, serviceMonitor: {enabled: "yes"}}`:       "enabled",
		`{existingSecret: a, serviceMonitor: {interval: 15}}`:         "interval",
		`{existingSecret: a, terminationGracePeriodSeconds: 1}`:       "terminationGracePeriodSeconds",
	} {
		if _, err := template(t, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one that says %q", values, err, want)
		}
	}
}

// TestValidatorsFindWhatIsWrong breaks good manifests, so that a validator that looks at nothing is noticed.
func TestValidatorsFindWhatIsWrong(t *testing.T) {
	t.Parallel()
	all := kustomize(t, base)
	for _, broken := range []struct{ object, old, new string }{
		{"Deployment/learner", "replicas: 2", "replica: 2"},
		{"Deployment/learner", "replicas: 2", "replicas: two"},
		{"Deployment/learner", "periodSeconds: 10", "periodSecond: 10"},
		{"Deployment/learner", "drop:", "dropp:"},
		{"PodDisruptionBudget/learner", "maxUnavailable:", "maxUnavailabel:"},
		{"Service/learner", "port: 8080", "port: http"},
	} {
		text := strings.Replace(all[broken.object], broken.old, broken.new, 1)
		if text == all[broken.object] {
			t.Fatalf("%s has no %q", broken.object, broken.old)
		}
		if err := validate(t, text); err == nil {
			t.Errorf("%s with %q was taken", broken.object, broken.new)
		}
	}

	if err := yaml.UnmarshalStrict([]byte("spec: {endpoints: [{prot: http}]}"), new(monitoringv1.ServiceMonitor)); err == nil {
		t.Error("a ServiceMonitor with an unknown field was taken")
	}
	if err := yaml.UnmarshalStrict([]byte("spec: {groups: [{name: a, rules: [{records: b}]}]}"), new(monitoringv1.PrometheusRule)); err == nil {
		t.Error("a PrometheusRule with an unknown field was taken")
	}
}

// TestHelmLintFindsWhatIsWrong breaks the chart.
func TestHelmLintFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"templates/broken.yaml":  "a: {{ .Values.replicas",
		"templates/nothing.yaml": "a: {{ include \"learner.nothing\" . }}",
		"templates/indent.yaml":  "a:\n  b: 1\n c: 2\n",
	} {
		dir := filepath.Join(t.TempDir(), "learner")
		// By hand, as os.CopyFS would copy the links in files as they are.
		for _, part := range []string{"Chart.yaml", "values.yaml", "values.schema.json", "templates/_helpers.tpl"} {
			writeTo(t, filepath.Join(dir, part), string(read(t, "helm/learner/"+part)))
		}
		lint := func() error {
			_, err := run(t, "HELM", "lint", "--strict", dir, "--kube-version", kubernetesVersion)
			return err
		}
		if err := lint(); err != nil {
			t.Fatal(err)
		}
		writeTo(t, filepath.Join(dir, name), text)
		if lint() == nil {
			t.Errorf("a chart with %q was taken", text)
		}
	}
}

func writeTo(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
