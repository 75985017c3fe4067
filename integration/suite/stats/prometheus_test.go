// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// TestPrometheus compares the metrics of the CRI that containerd serves with those of stock
// containerd after the same calls: names, types, labels and, of counters and timers, how many
// events they count.
func TestPrometheus(t *testing.T) {
	got := map[string]map[string]string{}
	for _, daemon := range []string{harness.Stock, harness.Lite} {
		t.Run(daemon, func(t *testing.T) {
			port := harness.Port(t)
			address := fmt.Sprintf("127.0.0.1:%d", port)
			b := harness.StartWith(t, harness.Options{
				Daemon: daemon, Handler: harness.HandlerRunc, Config: fmt.Sprintf("[metrics]\n  address = %q\n", address),
			})
			useCRI(t, b, b.Client(t, image.Busybox))
			got[daemon] = readMetrics(t, "http://"+address+"/v1/metrics")
		})
	}
	if diff := cmp.Diff(got[harness.Stock], got[harness.Lite]); diff != "" {
		t.Errorf("metrics (-stock +lite):\n%s", diff)
	}
	if n := len(got[harness.Stock]); n < 30 {
		t.Errorf("stock containerd has only %d series: %v", n, slices.Sorted(maps.Keys(got[harness.Stock])))
	}
}

// useCRI makes each call that has a metric, some of them twice and some in vain.
func useCRI(t *testing.T, b *harness.Bench, c *harness.CRI) {
	t.Helper()
	ctx := t.Context()
	config := b.PodConfig("metrics")
	answer, err := c.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config, RuntimeHandler: harness.HandlerRunc})
	if err != nil {
		t.Fatal(err)
	}
	pod := answer.PodSandboxId
	for _, name := range []string{"one", "two"} {
		id, err := c.Run(ctx, pod, config, harness.ContainerConfig(config, name, image.Busybox, "sleep", "1000"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: id}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: id}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: pod, SandboxConfig: config, Config: &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "absent"}, Image: &runtimeapi.ImageSpec{Image: "absent:latest"},
	}}); err == nil {
		t.Error("a container of an absent image was created")
	}
	if err := c.Pull(ctx, "registry.k8s.io/absent:latest"); err == nil {
		t.Error("an absent image was pulled")
	}
	if _, err := c.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := c.ListContainers(ctx, &runtimeapi.ListContainersRequest{}); err != nil {
		t.Error(err)
	}
	if err := c.RemovePod(ctx, pod); err != nil {
		t.Error(err)
	}
}

// counted are the lines whose value is the same after the same calls: counters, and the numbers of
// events of histograms.
var counted = regexp.MustCompile(`^(containerd_cri\S*?(?:_count|_total|_pulls_total)(?:{[^}]*})?) (\S+)$`)

// different are the series that may differ: stock containerd counts the lists that it makes itself,
// stops a stopped pod once more when it removes it, and pulls a pause image. It counts the bytes of
// logs, which our shim writes.
var different = regexp.MustCompile(`container_list_seconds_count|runtime_stop_seconds_count|tear_down_pod|delete_network_seconds_count|status="success"|throughput.*_count` +
	`|cri_(input|output|split)_`)

// readMetrics returns the metrics of the CRI: the type of each by name, and the value of each
// counter by name and labels.
func readMetrics(t *testing.T, url string) map[string]string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<22))
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, answer.Status, err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "# TYPE containerd_cri"); ok {
			name, kind, _ := strings.Cut(rest, " ")
			all["containerd_cri"+name] = kind
		}
		if m := counted.FindStringSubmatch(line); m != nil {
			all[m[1]] = m[2]
		}
	}
	maps.DeleteFunc(all, func(name, _ string) bool { return different.MatchString(name) })
	return all
}
