// SPDX-License-Identifier: Apache-2.0

package log

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// TestUserNamespace checks, with each shim, that processes in a user namespace can open /dev/stdout
// by name: the container must own its pipes.
func TestUserNamespace(t *testing.T) {
	b := bench{harness.Open(t, image.Busybox, image.Nginx)}
	for _, handler := range []string{harness.HandlerLite, harness.HandlerRunc} {
		b.NoLeaks(t, "nginx, "+handler, func(t *testing.T) { nginx(t, b, handler) })
		b.NoLeaks(t, "redirections, "+handler, func(t *testing.T) { redirections(t, b, handler) })
	}
}

// runUserNS runs a container in a pod with a user namespace.
func (b bench) runUserNS(t *testing.T, handler, img string, change func(*runtimeapi.ContainerConfig)) writer {
	t.Helper()
	ids := []*runtimeapi.IDMapping{{HostId: 1 << 20, Length: 1 << 16}}
	modes := &runtimeapi.NamespaceOption{
		Pid:           runtimeapi.NamespaceMode_CONTAINER,
		UsernsOptions: &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_POD, Uids: ids, Gids: ids},
	}
	config := b.PodConfig("userns-" + handler)
	config.LogDirectory = t.TempDir()
	config.Linux.SecurityContext.NamespaceOptions = modes
	answer, err := b.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: config, RuntimeHandler: handler})
	if err != nil {
		t.Fatal(err)
	}
	b.RemoveAfter(t, answer.PodSandboxId)
	c := harness.ContainerConfig(config, "main", img)
	c.Linux.SecurityContext.NamespaceOptions = modes
	change(c)
	id, err := b.Run(t.Context(), answer.PodSandboxId, config, c)
	if err != nil {
		t.Fatal(err)
	}
	return writer{answer.PodSandboxId, id, filepath.Join(config.LogDirectory, c.LogPath)}
}

// nginx has Debian's layout: its logs are links to /dev/stdout and /dev/stderr, which it opens by
// name.
func nginx(t *testing.T, b bench, handler string) {
	w := b.runUserNS(t, handler, image.Nginx, func(*runtimeapi.ContainerConfig) {})
	const page = "http://127.0.0.1/index.html?from=userns"
	if err := harness.Await(t.Context(), func() error {
		answer, err := b.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: w.container, Cmd: []string{"wget", "-q", "-O", "-", page}})
		if err == nil && string(answer.Stdout) != "Welcome to nginx!\n" {
			err = fmt.Errorf("page %q, stderr %q", answer.Stdout, answer.Stderr)
		}
		status, statusErr := b.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: w.container})
		if statusErr == nil && status.Status.State == runtimeapi.ContainerState_CONTAINER_EXITED {
			text, _ := os.ReadFile(w.log)
			t.Fatalf("nginx has exited:\n%s", text)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := harness.Await(t.Context(), func() error {
		text, err := os.ReadFile(w.log)
		if err == nil && !bytes.Contains(text, []byte(`"GET /index.html?from=userns HTTP/1.1" 200`)) {
			err = fmt.Errorf("no access line in the log:\n%s", text)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// redirections opens the streams as the container's root and as another user, at the start and in
// an exec.
func redirections(t *testing.T, b bench, handler string) {
	for _, uid := range []int64{0, 1000} {
		t.Run(fmt.Sprint("user ", uid), func(t *testing.T) {
			w := b.runUserNS(t, handler, image.Busybox, func(c *runtimeapi.ContainerConfig) {
				c.Command = []string{"sh", "-c", "echo out >/dev/stdout; echo err >/dev/stderr; exec sleep 1000"}
				c.Linux.SecurityContext.RunAsUser = &runtimeapi.Int64Value{Value: uid}
				c.Linux.SecurityContext.RunAsGroup = &runtimeapi.Int64Value{Value: uid}
			})
			for _, line := range []string{"stdout F out", "stderr F err"} {
				if err := harness.Await(t.Context(), func() error {
					text, err := os.ReadFile(w.log)
					if bytes.Contains(text, []byte("denied")) {
						t.Fatalf("log:\n%s", text)
					}
					if err == nil && !bytes.Contains(text, []byte(line)) {
						err = fmt.Errorf("no line %q in the log:\n%s", line, text)
					}
					return err
				}); err != nil {
					t.Error(err)
				}
			}
			b.exec(t, w, "sh", "-c", "echo exec >/dev/stdout")
		})
	}
}
