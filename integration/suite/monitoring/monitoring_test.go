// SPDX-License-Identifier: Apache-2.0

// Package monitoring tests the dashboard and the alerts of dist/ with a real Prometheus.
package monitoring

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

const (
	dist = "../../../dist"
	// pictureTime is the time that the picture of the dashboard shows.
	pictureTime = 90 * time.Second
)

// TestRules checks the alerts, and runs their own tests.
func TestRules(t *testing.T) {
	for _, args := range [][]string{
		{"check", "rules", "containerd-lite.rules.yml"},
		{"test", "rules", "containerd-lite.rules_test.yml"},
	} {
		promtool, err := filepath.Abs("../../../.tools/bin/promtool")
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = filepath.Join(dist, "prometheus")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestEachAlertHasATest checks that the tests of the alerts name each of them.
func TestEachAlertHasATest(t *testing.T) {
	rules, err := os.ReadFile(filepath.Join(dist, "prometheus", "containerd-lite.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(filepath.Join(dist, "prometheus", "containerd-lite.rules_test.yml"))
	if err != nil {
		t.Fatal(err)
	}
	alerts := 0
	for line := range strings.Lines(string(rules)) {
		_, name, found := strings.Cut(strings.TrimSpace(line), "alert: ")
		if !found {
			continue
		}
		alerts++
		if !strings.Contains(string(tests), "alertname: "+name+"\n        exp_alerts:") {
			t.Errorf("no test in which %s fires", name)
		}
	}
	if alerts == 0 {
		t.Error("no alerts")
	}
}

// query is an expression of a panel.
type query struct{ panel, expr string }

// dashboard is the part of a dashboard of Grafana that the tests read.
type dashboard struct {
	Panels []struct {
		Title, Type string
		Targets     []struct{ Expr, LegendFormat string }
		FieldConfig struct{ Defaults struct{ Unit string } }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dist, "grafana", "containerd-lite.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// substitute puts values in the place of the variables of the dashboard.
func substitute(expr string) string {
	return strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*").Replace(expr)
}

// queries returns the expressions of the dashboard.
func queries(t *testing.T) (all []query) {
	t.Helper()
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			all = append(all, query{p.Title, substitute(target.Expr)})
		}
	}
	return all
}

// TestDashboard checks that each query of the dashboard returns data when a Prometheus has scraped
// a daemon under load. With LITE_PICTURE=file.svg the load takes pictureTime, and the picture of
// the dashboard is written to the file.
func TestDashboard(t *testing.T) {
	metrics, web := harness.Port(t), harness.Port(t)
	b := harness.StartWith(t, harness.Options{Config: fmt.Sprintf("[metrics]\n  address = \"127.0.0.1:%d\"\n", metrics)})
	n := harness.Session{Bench: b, CRI: b.Client(t, image.Busybox)}
	startPrometheus(t, b, metrics, web)
	all := queries(t)
	if len(all) < 20 {
		t.Fatalf("the dashboard has only %d queries", len(all))
	}
	missing := all
	var failed error
	for round := 0; len(missing) > 0 && failed == nil && round < 40; round++ {
		failed = use(t, n, round)
		missing = withoutData(t, web, missing)
	}
	if failed != nil {
		t.Error(failed)
	}
	if path := os.Getenv("LITE_PICTURE"); path != "" {
		for begin := time.Now(); failed == nil && time.Since(begin) < pictureTime; {
			failed = use(t, n, int(time.Since(begin).Milliseconds()))
		}
		draw(t, path, web, pictureTime)
	}
	for _, q := range missing {
		t.Errorf("panel %q has no data: %s", q.panel, q.expr)
	}
}

func startPrometheus(t *testing.T, b *harness.Bench, metrics, web int32) {
	t.Helper()
	config := b.Path("prometheus.yml")
	rules, err := filepath.Abs(filepath.Join(dist, "prometheus", "containerd-lite.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
  - job_name: containerd-lite
    metrics_path: /v1/metrics
    static_configs: [{targets: ['127.0.0.1:%d']}]
`, rules, metrics)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := harness.NewProcess(b, "prometheus")
	err = p.Run(b.Tool("prometheus"), "--config.file", config, "--storage.tsdb.path", b.Path("prometheus"),
		"--web.listen-address", fmt.Sprintf("127.0.0.1:%d", web))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(p.Stop(), os.RemoveAll(b.Path("prometheus"))); err != nil {
			t.Error(err)
		}
	})
}

// use makes the calls that the dashboard shows: a pod whose container fails, a pull, a reload.
func use(t *testing.T, n harness.Session, round int) error {
	config := n.PodConfig(fmt.Sprintf("load%d", round))
	id, err := n.RunPod(t.Context(), config)
	if err != nil {
		return err
	}
	container, err := n.Run(t.Context(), id, config, harness.ContainerConfig(config, "main", image.Busybox, "false"))
	if err != nil {
		return err
	}
	if _, err := n.AwaitState(t.Context(), container, runtimeapi.ContainerState_CONTAINER_EXITED); err != nil {
		return err
	}
	// A call in progress, so that there is an oldest one.
	running, err := n.Run(t.Context(), id, config, harness.ContainerConfig(config, "busy", image.Busybox, "sleep", "1000"))
	if err != nil {
		return err
	}
	exec := make(chan error, 1)
	go func() {
		_, err := n.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: running, Cmd: []string{"sleep", "2"}, Timeout: 60})
		exec <- err
	}()
	_, removed := n.RemoveImage(t.Context(), &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: image.Pause}})
	err = errors.Join(removed, n.Pull(t.Context(), image.Pause), unix.Kill(n.Daemon.PID(), unix.SIGHUP), <-exec)
	_, stopped := n.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: running})
	return errors.Join(err, stopped, n.RemovePod(t.Context(), id))
}

// withoutData returns the queries for which Prometheus has no number.
func withoutData(t *testing.T, web int32, all []query) (missing []query) {
	t.Helper()
	for _, q := range all {
		if !hasData(t, web, q.expr) {
			missing = append(missing, q)
		}
	}
	return missing
}

// hasData reports whether an expression had a number at some time in the last minute.
func hasData(t *testing.T, web int32, expr string) bool {
	t.Helper()
	now := time.Now().Unix()
	values := url.Values{"query": {expr}, "start": {fmt.Sprint(now - 60)}, "end": {fmt.Sprint(now)}, "step": {"1"}}
	answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/api/v1/query_range?%s", web, values.Encode()))
	if err != nil {
		return false // Prometheus is starting
	}
	defer answer.Body.Close()
	var result struct {
		Status, Error string
		Data          struct{ Result []struct{ Values [][2]any } }
	}
	if err := json.NewDecoder(answer.Body).Decode(&result); err != nil {
		return false
	}
	if result.Status == "error" {
		t.Fatalf("query %s: %s", expr, result.Error)
	}
	for _, series := range result.Data.Result {
		for _, v := range series.Values {
			if v[1] != "NaN" {
				return true
			}
		}
	}
	return false
}
