// SPDX-License-Identifier: Apache-2.0

package restart

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// filesComeBack restores the files of a removed and of a stopped pod, as after a power failure
// before the file system has written their removal to disk.
func filesComeBack(t *testing.T, b bench) {
	if b.Options.Daemon == harness.Stock {
		t.Skip("stock containerd does not clean up files and addresses that reappear after a power failure")
	}
	removed, stopped := b.start(t, "removed"), b.start(t, "stopped")
	files := b.files(t, removed, stopped)
	if err := b.RemovePod(t.Context(), removed.id); err != nil {
		t.Fatal(err)
	}
	if _, err := b.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: stopped.id}); err != nil {
		t.Fatal(err)
	}
	if err := b.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	for path, content := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A CNI plugin whose agent runs in a pod cannot run DEL before the CRI is ready.
	agent := b.Path("agent-runs")
	restore, err := b.Network.Replace("tuning", `while [ ! -e `+agent+` ]; do sleep 0.1; done; exec $PLUGIN`)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := restore(); err != nil {
			t.Error(err)
		}
	})
	if err := b.Daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(agent, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path := range files {
		if err := harness.Await(t.Context(), func() error {
			if _, err := os.Lstat(path); err == nil {
				return errors.New("reappeared and still exists")
			}
			return nil
		}); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := b.RemovePod(t.Context(), stopped.id); err != nil {
		t.Error(err)
	}
}

// files returns the files of pods that are on disk, by path: three of each pod, its address and
// libcni's result cache.
func (b bench) files(t *testing.T, pods ...pod) map[string][]byte {
	t.Helper()
	state, err := b.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, path := range append(state["file"], state["address"]...) {
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() || strings.HasPrefix(path, b.Path("state")) || strings.HasPrefix(path, "/run") {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pods {
			if strings.Contains(path, p.id) || strings.Contains(string(content), p.id) {
				files[path] = content
			}
		}
	}
	if len(files) != 5*len(pods) {
		t.Fatalf("%d pods with %d files: %v", len(pods), len(files), files)
	}
	return files
}
