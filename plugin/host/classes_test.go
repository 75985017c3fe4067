// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/pkg/blockio"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func classSpec(t *testing.T, c Classes, annotations map[string]string) (*specs.Spec, error) {
	t.Helper()
	s := &specs.Spec{Linux: &specs.Linux{Resources: &specs.LinuxResources{}}}
	return s, c.Apply(s, &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "web"}, Annotations: annotations,
	}, &runtimeapi.PodSandboxConfig{})
}

// Without the administrator's files a class is an error, unless the configuration ignores that.
func TestClassesNotEnabled(t *testing.T) {
	for _, key := range []string{
		"blockio.resources.beta.kubernetes.io/pod", "blockio.resources.beta.kubernetes.io/container.web",
		"rdt.resources.beta.kubernetes.io/pod", "rdt.resources.beta.kubernetes.io/container.web",
	} {
		s := &specs.Spec{Linux: &specs.Linux{Resources: &specs.LinuxResources{}}}
		container := &runtimeapi.ContainerConfig{Metadata: &runtimeapi.ContainerMetadata{Name: "web"}}
		pod := &runtimeapi.PodSandboxConfig{Annotations: map[string]string{key: "gold"}}
		if err := (Classes{}).Apply(s, container, pod); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("%s: error %v, want class FailedPrecondition", key, err)
		}
		if err := (Classes{IgnoreBlockIO: true, IgnoreRDT: true}).Apply(s, container, pod); err != nil {
			t.Errorf("%s, ignored: %v", key, err)
		}
		if s.Linux.IntelRdt != nil || s.Linux.Resources.BlockIO != nil {
			t.Errorf("%s: class applied", key)
		}
	}
}

func TestBlockIOClass(t *testing.T) {
	file := filepath.Join(t.TempDir(), "blockio.yaml")
	must(t, os.WriteFile(file, []byte("Classes:\n  gold:\n    - Weight: 400\n"), 0o600))
	must(t, blockio.SetConfig(file))
	t.Cleanup(func() { must(t, blockio.SetConfig("")) })
	const key = "io.kubernetes.cri.blockio-class"
	s, err := classSpec(t, Classes{}, map[string]string{key: "gold"})
	must(t, err)
	if io := s.Linux.Resources.BlockIO; io == nil || io.Weight == nil || *io.Weight != 400 {
		t.Errorf("limits %+v, want the weight 400", io)
	}
	if _, err := classSpec(t, Classes{IgnoreBlockIO: true}, map[string]string{key: "lead"}); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("unknown class: error %v, want class FailedPrecondition", err)
	}
	s, err = classSpec(t, Classes{}, nil)
	must(t, err)
	if s.Linux.Resources.BlockIO != nil {
		t.Error("class applied without a request")
	}
}
