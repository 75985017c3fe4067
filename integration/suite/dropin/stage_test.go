// SPDX-License-Identifier: Apache-2.0

package dropin

import (
	"context"
	"maps"
	"slices"
	"testing"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// answer calls an RPC that must succeed.
func answer[Q, A any](t *testing.T, call func(context.Context, *Q, ...grpc.CallOption) (*A, error), request *Q) *A {
	t.Helper()
	a, err := call(t.Context(), request)
	if err != nil {
		t.Fatalf("%T: %v", request, err)
	}
	return a
}

// stage has the IDs of a daemon's pods and containers by name.
type stage struct {
	bench
	pods       map[string]string
	containers map[string]string
}

func (b bench) stage(t *testing.T) stage {
	t.Helper()
	s := stage{bench: b, pods: map[string]string{}, containers: map[string]string{}}
	t.Cleanup(func() { s.remove(t) })
	own := s.run(t, "own", func(c *runtimeapi.PodSandboxConfig) {
		c.Annotations = map[string]string{"note": "of the pod"}
		c.DnsConfig = &runtimeapi.DNSConfig{Servers: []string{"198.18.0.53"}, Searches: []string{"a.test"}}
		c.Linux.Sysctls = map[string]string{"net.core.somaxconn": "512"}
		c.Linux.Overhead = &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 1 << 20}
		c.Linux.Resources = &runtimeapi.LinuxContainerResources{CpuShares: 512, MemoryLimitInBytes: 64 << 20}
	})
	answer(t, b.UpdatePodSandboxResources, &runtimeapi.UpdatePodSandboxResourcesRequest{
		PodSandboxId: s.pods["own"],
		Overhead:     &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 1 << 20},
		Resources:    &runtimeapi.LinuxContainerResources{CpuShares: 512, MemoryLimitInBytes: 64 << 20},
	})
	s.run(t, "shared", func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.SecurityContext.NamespaceOptions.Pid = runtimeapi.NamespaceMode_POD
	})
	s.run(t, "host", harness.OnHostNetwork)

	for what, ref := range b.references(t) {
		if what != "missing" && what != "pinned" {
			s.create(t, own, "by "+what, ref)
		}
	}
	s.create(t, own, "like the kubelet", b.idOf(t, gone), func(c *runtimeapi.ContainerConfig) {
		c.Image.UserSpecifiedImage, c.Image.Annotations = gone, map[string]string{"of": "the image"}
	})
	s.create(t, own, "dressed", tagged, dress)
	s.start(t, "dressed", runtimeapi.ContainerState_CONTAINER_RUNNING)
	s.exit(t, own, "completed", "exit 0")
	s.exit(t, own, "failed", "exit 3")
	s.create(t, own, "not started", tagged, func(c *runtimeapi.ContainerConfig) { c.Command = []string{"/absent"} })
	if _, err := b.StartContainer(t.Context(), &runtimeapi.StartContainerRequest{ContainerId: s.containers["not started"]}); err == nil {
		t.Error("a missing command was started")
	}
	return s
}

// run runs a pod.
func (s stage) run(t *testing.T, name string, change func(*runtimeapi.PodSandboxConfig)) *runtimeapi.PodSandboxConfig {
	t.Helper()
	config := s.PodConfig(name)
	change(config)
	s.pods[name] = answer(t, s.RunPodSandbox, &runtimeapi.RunPodSandboxRequest{Config: config}).PodSandboxId
	return config
}

// create creates a container in a pod. It sleeps if it is started.
func (s stage) create(t *testing.T, pod *runtimeapi.PodSandboxConfig, name, ref string, changes ...func(*runtimeapi.ContainerConfig)) {
	t.Helper()
	config := harness.ContainerConfig(pod, name, ref, "sleep", "1000")
	sc := config.Linux.SecurityContext
	// The kubelet always sends both lists.
	sc.MaskedPaths, sc.ReadonlyPaths = []string{"/proc/kcore"}, []string{"/proc/sys"}
	for _, change := range changes {
		change(config)
	}
	created := answer(t, s.CreateContainer, &runtimeapi.CreateContainerRequest{PodSandboxId: s.pods["own"], Config: config, SandboxConfig: pod})
	s.containers[name] = created.ContainerId
}

func (s stage) start(t *testing.T, name string, until runtimeapi.ContainerState) {
	t.Helper()
	id := s.containers[name]
	answer(t, s.StartContainer, &runtimeapi.StartContainerRequest{ContainerId: id})
	if _, err := s.AwaitState(t.Context(), id, until); err != nil {
		t.Fatal(err)
	}
}

func (s stage) exit(t *testing.T, pod *runtimeapi.PodSandboxConfig, name, script string) {
	t.Helper()
	s.create(t, pod, name, tagged, func(c *runtimeapi.ContainerConfig) { c.Command = []string{"sh", "-c", script} })
	s.start(t, name, runtimeapi.ContainerState_CONTAINER_EXITED)
}

// dress sets fields that a status repeats.
func dress(c *runtimeapi.ContainerConfig) {
	c.Metadata.Attempt = 2
	c.Args, c.WorkingDir, c.Stdin, c.StdinOnce = []string{"1000"}, "/tmp", true, true
	c.Command = []string{"sleep"}
	c.Envs = []*runtimeapi.KeyValue{{Key: "PASSWORD", Value: []byte("hunter2")}, {Key: "EMPTY"}}
	c.Annotations = map[string]string{"note": "of the container"}
	c.Mounts = []*runtimeapi.Mount{{HostPath: "/etc", ContainerPath: "/mnt", Readonly: true}}
	c.StopSignal = runtimeapi.Signal_SIGNAL_SIGQUIT
	c.Linux.Resources = &runtimeapi.LinuxContainerResources{CpuPeriod: 100000, CpuQuota: 50000, CpuShares: 256, MemoryLimitInBytes: 32 << 20, OomScoreAdj: 500}
	c.Linux.SecurityContext.RunAsUser, c.Linux.SecurityContext.SupplementalGroups = &runtimeapi.Int64Value{Value: 1001}, []int64{7}
}

// add adds the daemon's answers about pods and containers.
func (s stage) add(t *testing.T, found leaves, prefix string) {
	t.Helper()
	n := s.normaliser(&s)
	for _, name := range slices.Sorted(maps.Keys(s.pods)) {
		where := prefix + "pod " + name
		status := answer(t, s.PodSandboxStatus, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: s.pods[name], Verbose: true})
		found.message(where+"/status", status.Status, n)
		found.info(where+"/info", status.Info, n)
		list := answer(t, s.ListPodSandbox, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{Id: s.pods[name]}})
		for _, item := range list.Items {
			found.message(where+"/list", item, n)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.containers)) {
		s.addContainer(t, found, prefix+"container "+name, s.containers[name], n)
	}
	all := answer(t, s.ListContainers, &runtimeapi.ListContainersRequest{})
	found.values(prefix+"containers", len(all.Containers), n)
}

func (s stage) addContainer(t *testing.T, found leaves, where, id string, n func(string) string) {
	t.Helper()
	status := answer(t, s.ContainerStatus, &runtimeapi.ContainerStatusRequest{ContainerId: id, Verbose: true})
	found.message(where+"/status", status.Status, n)
	found.info(where+"/info", status.Info, n)
	list := answer(t, s.ListContainers, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{Id: id}})
	for _, item := range list.Containers {
		found.message(where+"/list", item, n)
	}
	_, err := s.ContainerStats(t.Context(), &runtimeapi.ContainerStatsRequest{ContainerId: id})
	found.values(where+"/has stats", err == nil, n)
}

func (s stage) stop(t *testing.T) {
	t.Helper()
	for _, id := range s.pods {
		answer(t, s.StopPodSandbox, &runtimeapi.StopPodSandboxRequest{PodSandboxId: id})
	}
}

// remove removes everything. It may be called again.
func (s stage) remove(t *testing.T) {
	t.Helper()
	for _, id := range s.pods {
		if err := s.RemovePod(harness.After(t), id); err != nil {
			t.Errorf("remove pod: %v", err)
		}
	}
	clear(s.pods)
}
