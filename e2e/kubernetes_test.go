package e2e

import (
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// manifest is what these tests read of one.
type manifest struct {
	Kind     string
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	StringData map[string]string `yaml:"stringData"`
	Spec       struct {
		Selector any
		Ports    []struct {
			TargetPort string `yaml:"targetPort"`
		}
		ScaleTargetRef struct{ Kind, Name string } `yaml:"scaleTargetRef"`
		Metrics        []struct {
			External struct{ Metric struct{ Name string } }
		}
		Template struct {
			Metadata struct{ Labels, Annotations map[string]string }
			Spec     struct {
				Grace      int64 `yaml:"terminationGracePeriodSeconds"`
				Containers []struct {
					Args []string
					Env  []struct {
						Name, Value string
						ValueFrom   struct {
							SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
							FieldRef     struct {
								FieldPath string `yaml:"fieldPath"`
							} `yaml:"fieldRef"`
						} `yaml:"valueFrom"`
					}
					Ports []struct {
						Name          string
						ContainerPort int `yaml:"containerPort"`
					}
					StartupProbe   probe `yaml:"startupProbe"`
					ReadinessProbe probe `yaml:"readinessProbe"`
					LivenessProbe  probe `yaml:"livenessProbe"`
				}
			}
		}
	}
}

type probe struct {
	HTTPGet struct {
		Path, Port  string
		HTTPHeaders []struct{ Name, Value string } `yaml:"httpHeaders"`
	} `yaml:"httpGet"`
}

// manifests are those of a file.
func manifests(t *testing.T, text string) (all []manifest) {
	t.Helper()
	for parts := yaml.NewDecoder(strings.NewReader(text)); ; {
		var node yaml.Node
		if err := parts.Decode(&node); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		var one manifest
		if err := node.Decode(&one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
}

// TestKubernetes_TheManifestsFitTheGateway holds what they say of the program to
// the program: its arguments, its file, what the probes ask, what the autoscaler
// looks at, and the names by which they know each other.
func TestKubernetes_TheManifestsFitTheGateway(t *testing.T) {
	t.Parallel()
	var kustomization struct {
		Resources          []string
		ConfigMapGenerator []struct {
			Name  string
			Files []string
		} `yaml:"configMapGenerator"`
	}
	if err := yaml.Unmarshal([]byte(example(t, "kubernetes", "kustomization.yaml")), &kustomization); err != nil {
		t.Fatal(err)
	}
	byKind := map[string][]manifest{}
	for _, file := range kustomization.Resources {
		for _, m := range manifests(t, example(t, "kubernetes", file)) {
			byKind[m.Kind] = append(byKind[m.Kind], m)
		}
	}
	if len(byKind["Deployment"]) != 1 || len(byKind["Secret"]) != 1 {
		t.Fatalf("the manifests are %v", byKind)
	}
	deployment, secret := byKind["Deployment"][0], byKind["Secret"][0]
	pod := deployment.Spec.Template
	container := pod.Spec.Containers[0]

	// The file, as a pod has it.
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ropeline.yaml"), example(t, "kubernetes", kustomization.ConfigMapGenerator[0].Files[0]))
	if container.Args[0] != "run" || container.Args[2] != "/etc/ropeline/ropeline.yaml" {
		t.Errorf("the container runs %q", container.Args)
	}
	cmd := command(dir, "validate", container.Args[1], "ropeline.yaml")
	for _, e := range container.Env {
		value := e.Value
		switch ref := e.ValueFrom.SecretKeyRef; {
		case ref.Key != "":
			if value = secret.StringData[ref.Key]; value == "" || ref.Name != secret.Metadata.Name {
				t.Errorf("%s is of the secret %s, key %s, which is not there", e.Name, ref.Name, ref.Key)
			}
		case e.ValueFrom.FieldRef.FieldPath == "status.podIP":
			value = "10.1.2.3"
		}
		cmd.Env = append(cmd.Env, e.Name+"="+value)
	}
	if status, said := ended(t, cmd); status != 0 || strings.Contains(said, "warning") {
		t.Errorf("validate: status %d\n%s", status, said)
	}
	var file struct{ Drain struct{ Delay, Grace string } }
	if err := yaml.Unmarshal([]byte(example(t, "kubernetes", "ropeline.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	delay, err1 := time.ParseDuration(file.Drain.Delay)
	grace, err2 := time.ParseDuration(file.Drain.Grace)
	if left := time.Duration(pod.Spec.Grace)*time.Second - delay - grace; err1 != nil || err2 != nil || left < 5*time.Second {
		t.Errorf("a pod is killed %v after it has drained", left)
	}

	// What the cluster asks, of a gateway that runs.
	g := start(t, settings(openShop(t), "capacity: 5, session: {idle: 1m, max: 5m}"))
	for name, p := range map[string]probe{"startup": container.StartupProbe, "readiness": container.ReadinessProbe, "liveness": container.LivenessProbe} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.Admin+p.HTTPGet.Path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "10.1.2.3:8081" // the pod's address, unless the probe says otherwise
		for _, h := range p.HTTPGet.HTTPHeaders {
			if h.Name == "Host" {
				r.Host = h.Value
			}
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK || p.HTTPGet.Port != "admin" {
			t.Errorf("the %s probe gets %s at port %s", name, answer.Status, p.HTTPGet.Port)
		}
	}
	scaler := byKind["HorizontalPodAutoscaler"][0].Spec
	if scaler.ScaleTargetRef.Kind != "Deployment" || scaler.ScaleTargetRef.Name != deployment.Metadata.Name {
		t.Errorf("the autoscaler scales %+v", scaler.ScaleTargetRef)
	}
	if _, err := g.metric(scaler.Metrics[0].External.Metric.Name + `{activity="7"}`); err != nil {
		t.Errorf("the autoscaler looks at %s: %v", scaler.Metrics[0].External.Metric.Name, err)
	}
	if _, err := http.Get(g.Admin + pod.Metadata.Annotations["prometheus.io/path"]); err != nil {
		t.Error(err)
	}

	// What they call each other.
	label := func(selector any) string {
		m, _ := selector.(map[string]any)
		if inner, ok := m["matchLabels"].(map[string]any); ok {
			m = inner
		}
		name, _ := m["app.kubernetes.io/name"].(string)
		return name
	}
	for _, kind := range []string{"Deployment", "Service", "PodDisruptionBudget"} {
		for _, m := range byKind[kind] {
			if label(m.Spec.Selector) != pod.Metadata.Labels["app.kubernetes.io/name"] {
				t.Errorf("%s %s selects %v", kind, m.Metadata.Name, m.Spec.Selector)
			}
		}
	}
	ports := map[string]bool{}
	for _, p := range container.Ports {
		ports[p.Name] = true
	}
	for _, s := range byKind["Service"] {
		if !ports[s.Spec.Ports[0].TargetPort] {
			t.Errorf("service %s leads to the port %s, which no pod has", s.Metadata.Name, s.Spec.Ports[0].TargetPort)
		}
	}
}
