// SPDX-License-Identifier: Apache-2.0

// Package crictl tests the daemon through the command line: every test runs crictl or ctr and
// checks the output.
package crictl

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

func TestCrictl(t *testing.T) {
	bench := harness.Start(t)
	u := user{bench}
	u.run(t, "pull", image.Busybox)
	u.run(t, "pull", image.Httpd)
	for _, test := range []struct {
		name string
		run  func(*testing.T, user)
	}{
		{"images", images},
		{"a pod and a container from runp to rmp", life},
		{"exit code", exitCode},
		{"logs -f", followLogs},
		{"logs", logs},
		{"exec --sync", execSync},
		{"exec", over(spdy, exec)},
		{"exec over WebSocket", over(webSocket, exec)},
		{"exec -it", over(spdy, execTerminal)},
		{"exec -it over WebSocket", over(webSocket, execTerminal)},
		{"attach", over(spdy, attach)},
		{"attach over WebSocket", over(webSocket, attach)},
		{"port-forward", over(spdy, portForward)},
		{"port-forward over WebSocket", over(webSocket, portForward)},
		{"host port", hostPort},
		{"stats and statsp", stats},
		{"ctr ls", ctr},
		{"info", info},
		{"no answers to canceled calls", noStrayAnswers},
	} {
		bench.NoLeaks(t, test.name, func(t *testing.T) { test.run(t, u) })
	}
}

// user runs crictl.
type user struct{ *harness.Bench }

// run runs crictl and returns its output. An error ends the test.
func (u user) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := harness.Output(u.Crictl(t.Context(), args...))
	if err != nil {
		t.Fatalf("crictl %v", err)
	}
	return out
}

// runJSON runs crictl and decodes its output.
func (u user) runJSON(t *testing.T, into any, args ...string) {
	t.Helper()
	out := u.run(t, slices.Insert(args, 1, "--output", "json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("crictl %s: %v:\n%s", strings.Join(args, " "), err, out)
	}
}

// pod runs a pod with one container and removes both when the test ends.
func (u user) pod(t *testing.T, name string, config *runtimeapi.PodSandboxConfig, container *runtimeapi.ContainerConfig) (podID, id string) {
	t.Helper()
	podFile, err := u.WriteConfig(name+"-pod", config)
	if err != nil {
		t.Fatal(err)
	}
	file, err := u.WriteConfig(name+"-container", container)
	if err != nil {
		t.Fatal(err)
	}
	podID = u.run(t, "runp", podFile)
	t.Cleanup(func() {
		u.clean(t, "stopp", podID)
		u.clean(t, "rmp", podID)
	})
	id = u.run(t, "create", podID, file, podFile)
	u.run(t, "start", id)
	return podID, id
}

// sleeper runs a pod whose container sleeps until it gets SIGTERM.
func (u user) sleeper(t *testing.T, name string) (podID, id string) {
	t.Helper()
	config := u.PodConfig(name)
	return u.pod(t, name, config, harness.ContainerConfig(config, "main", image.Busybox, "sh", "-c", "trap exit TERM; sleep 1000 & wait"))
}

// clean runs crictl in a cleanup function, after the test's context was canceled.
func (u user) clean(t *testing.T, args ...string) {
	t.Helper()
	if _, err := harness.Output(u.Crictl(harness.After(t), args...)); err != nil {
		t.Errorf("crictl %v", err)
	}
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func contains(t *testing.T, what, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%s: no %q in:\n%s", what, part, text)
	}
}

// noStrayAnswers checks that in all other tests no shim answered a call after the caller had
// canceled it, such as a wait. ttrpc logs such answers at level error.
func noStrayAnswers(t *testing.T, u user) {
	if n := strings.Count(u.Daemon.LogTail(math.MaxInt32), "received message on inactive stream"); n > 0 {
		t.Errorf("%d answers to canceled calls", n)
	}
}
