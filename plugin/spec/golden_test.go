// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// fixture returns a pod with pinned namespaces on a usual machine, and a container with default
// settings.
func fixture() Input {
	return Input{
		ID: "c1",
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "web"},
			Image:    &runtimeapi.ImageSpec{Image: "sha256:0123", UserSpecifiedImage: "docker.io/library/web:1"},
		},
		Pod: Pod{
			ID: "p1",
			Config: &runtimeapi.PodSandboxConfig{
				Metadata: &runtimeapi.PodSandboxMetadata{Name: "shop", Namespace: "default", Uid: "u1"},
				Hostname: "shop",
				Linux: &runtimeapi.LinuxPodSandboxConfig{
					CgroupParent: "/kubepods/podu1",
					SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
						NamespaceOptions: &runtimeapi.NamespaceOption{Pid: modeContainer},
					},
				},
				LogDirectory: "/var/log/pods/shop",
			},
			Hostname:   "shop",
			Namespaces: Namespaces{Net: "/run/ns/p1/net", IPC: "/run/ns/p1/ipc", UTS: "/run/ns/p1/uts"},
			Files: PodFiles{
				Hostname:   "/root/sandboxes/p1/hostname",
				Hosts:      "/root/sandboxes/p1/hosts",
				ResolvConf: "/root/sandboxes/p1/resolv.conf",
				Shm:        "/state/sandboxes/p1/shm",
			},
		},
		Image: Image{
			Name: "docker.io/library/web:1",
			Config: ocispec.ImageConfig{
				Entrypoint: []string{"/bin/web"},
				Cmd:        []string{"--serve"},
				Env:        []string{"PATH=/bin", "COLOR=blue"},
			},
		},
		Facts: fixtureFacts(),
	}
}

func fixtureFacts() Facts {
	return Facts{
		CgroupV2:           true,
		CgroupMountOptions: []string{"nsdelegate"},
		SwapController:     true,
		Hugetlb:            true,
		Seccomp:            true,
		RecursiveReadOnly:  true,
		OOMScoreAdj:        -500,
		Capabilities:       []string{"CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"},
		MaskedPaths:        []string{"/proc/kcore", "/sys/firmware"},
		ReadonlyPaths:      []string{"/proc/sys"},
		OCIVersion:         specs.Version,
	}
}

// TestGolden runs every testdata/container/*.in.json: JSON of an Input, merged into the fixture. In
// out.json, containerd's default seccomp profile is replaced by its name, because it is long and
// differs by architecture.
func TestGolden(t *testing.T) {
	for _, path := range glob(t, "testdata/container/*.in.json") {
		t.Run(name(path), func(t *testing.T) {
			in := fixture()
			decode(t, path, &in)
			resolve(&in)
			s, err := Container(in)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, path, s)
		})
	}
}

func TestPodInitGolden(t *testing.T) {
	for _, path := range glob(t, "testdata/podinit/*.in.json") {
		t.Run(name(path), func(t *testing.T) {
			f := fixture()
			in := PodInitInput{Pod: f.Pod, Facts: f.Facts, Root: "/state/sandboxes/p1/root", Binary: "/usr/libexec/pod-init"}
			decode(t, path, &in)
			s, err := PodInit(in)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, path, s)
		})
	}
}

func TestPodHolderGolden(t *testing.T) {
	for _, path := range glob(t, "testdata/podholder/*.in.json") {
		t.Run(name(path), func(t *testing.T) {
			f := fixture()
			in := PodInitInput{Pod: f.Pod, Facts: f.Facts}
			decode(t, path, &in)
			s, err := PodHolder(in.Pod, in.Handler, in.Facts)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, path, s)
		})
	}
}

// resolve sets the results of package host: every mount source exists on a shared mount, every
// device is /dev/fuse.
func resolve(in *Input) {
	if in.Mounts == nil {
		for _, m := range in.Config.GetMounts() {
			in.Mounts = append(in.Mounts, MountSource{Path: m.GetHostPath(), Shared: true})
		}
	}
	if in.Devices == nil {
		for _, d := range in.Config.GetDevices() {
			node := specs.LinuxDevice{
				Path: d.GetContainerPath(), Type: "c", Major: 10, Minor: 229,
				FileMode: new(os.FileMode(0o660)), UID: new(uint32(0)), GID: new(uint32(44)),
			}
			in.Devices = append(in.Devices, []specs.LinuxDevice{node})
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(paths), err)
	}
	return paths
}

func name(path string) string {
	return strings.TrimSuffix(filepath.Base(path), ".in.json")
}

func decode(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func compare(t *testing.T, path string, s *specs.Spec) {
	t.Helper()
	if s.Linux.Seccomp != nil && reflect.DeepEqual(s.Linux.Seccomp, seccomp.DefaultProfile(s)) {
		s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: "CONTAINERD DEFAULT"}
	}
	got, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	golden := strings.TrimSuffix(path, ".in.json") + ".out.json"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", golden, diff)
	}
}
