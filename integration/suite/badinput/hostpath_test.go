// SPDX-License-Identifier: Apache-2.0

package badinput

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// TestMissingHostPath checks that with missing_host_path = "error" a mount with a missing source is
// refused and the source is not created.
func TestMissingHostPath(t *testing.T) {
	options := harness.FromEnv()
	options.RefuseMissingHostPath = true
	if options.WithDefaults().Daemon == harness.Stock {
		t.Skip("stock containerd has no missing_host_path")
	}
	b := benchWith(t, options)
	config := b.PodConfig("hostpath")
	pod := b.Pod(t, config)
	missing := filepath.Join(t.TempDir(), "absent")
	c := harness.ContainerConfig(config, "main", image.Busybox, "true")
	c.Mounts = []*runtimeapi.Mount{{HostPath: missing, ContainerPath: "/mnt"}}
	_, err := b.CreateContainer(t.Context(), &runtimeapi.CreateContainerRequest{
		PodSandboxId: pod, Config: c, SandboxConfig: config,
	})
	b.want(t, "mount source missing", err, codes.NotFound)
	if _, err := os.Stat(missing); err == nil {
		t.Errorf("%s was created", missing)
	}
}
