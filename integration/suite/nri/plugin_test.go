// SPDX-License-Identifier: Apache-2.0

package nri

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/stub"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// Variables of a plugin in a process of its own: see pluginProcess.
const (
	envSocket = "LITE_NRI_SOCKET"
	envCount  = "LITE_NRI_COUNT"
)

// TestMain runs the test binary as a plugin if pluginProcess started it.
func TestMain(m *testing.M) {
	if socket := os.Getenv(envSocket); socket != "" {
		os.Exit(pluginMain(socket))
	}
	os.Exit(m.Run())
}

// pluginMain is a plugin that adds LITE_NRI_COUNT annotations to each container. It prints a line
// when it is synchronized.
func pluginMain(socket string) int {
	count, err := strconv.Atoi(os.Getenv(envCount))
	if err != nil {
		return 2
	}
	p := &plugin{create: func(*api.Container) (*api.ContainerAdjustment, error) {
		a := &api.ContainerAdjustment{}
		for i := range count {
			a.AddAnnotation(fmt.Sprint("example.com/", i), "x")
		}
		return a, nil
	}, synchronized: func() { fmt.Println("synchronized") }}
	s, err := stub.New(p, stub.WithPluginName("process"), stub.WithPluginIdx("20"), stub.WithSocketPath(socket))
	if err != nil {
		return 2
	}
	if err := s.Run(context.Background()); err != nil {
		return 1
	}
	return 0
}

// plugin records its calls.
type plugin struct {
	create       func(c *api.Container) (*api.ContainerAdjustment, error)
	synchronized func()

	mu     sync.Mutex
	events []string
	known  map[string]bool
	ready  chan struct{}
}

func (p *plugin) note(event, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, event+" "+id)
}

// of returns the events of a pod or container.
func (p *plugin) of(id string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var events []string
	for _, e := range p.events {
		if event, found := strings.CutSuffix(e, " "+id); found {
			events = append(events, event)
		}
	}
	return events
}

func (p *plugin) Synchronize(_ context.Context, pods []*api.PodSandbox, containers []*api.Container) ([]*api.ContainerUpdate, error) {
	p.mu.Lock()
	p.known = map[string]bool{}
	for _, one := range pods {
		p.known[one.GetId()] = true
	}
	for _, one := range containers {
		p.known[one.GetId()] = true
	}
	p.mu.Unlock()
	if p.synchronized != nil {
		p.synchronized()
	}
	if p.ready != nil {
		close(p.ready)
	}
	return nil, nil
}

func (p *plugin) RunPodSandbox(_ context.Context, pod *api.PodSandbox) error {
	p.note("run", pod.GetId())
	return nil
}

func (p *plugin) StopPodSandbox(_ context.Context, pod *api.PodSandbox) error {
	p.note("stop", pod.GetId())
	return nil
}

func (p *plugin) RemovePodSandbox(_ context.Context, pod *api.PodSandbox) error {
	p.note("remove", pod.GetId())
	return nil
}

func (p *plugin) CreateContainer(_ context.Context, _ *api.PodSandbox, c *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	p.note("create", c.GetId())
	if p.create == nil {
		return nil, nil, nil
	}
	a, err := p.create(c)
	return a, nil, err
}

func (p *plugin) PostCreateContainer(_ context.Context, _ *api.PodSandbox, c *api.Container) error {
	p.note("postcreate", c.GetId())
	return nil
}

func (p *plugin) StartContainer(_ context.Context, _ *api.PodSandbox, c *api.Container) error {
	p.note("start", c.GetId())
	return nil
}

func (p *plugin) PostStartContainer(_ context.Context, _ *api.PodSandbox, c *api.Container) error {
	p.note("poststart", c.GetId())
	return nil
}

func (p *plugin) UpdateContainer(_ context.Context, _ *api.PodSandbox, c *api.Container, _ *api.LinuxResources) ([]*api.ContainerUpdate, error) {
	p.note("update", c.GetId())
	return nil, nil
}

func (p *plugin) PostUpdateContainer(_ context.Context, _ *api.PodSandbox, c *api.Container) error {
	p.note("postupdate", c.GetId())
	return nil
}

func (p *plugin) StopContainer(_ context.Context, _ *api.PodSandbox, c *api.Container) ([]*api.ContainerUpdate, error) {
	p.note("stop", c.GetId())
	return nil, nil
}

func (p *plugin) RemoveContainer(_ context.Context, _ *api.PodSandbox, c *api.Container) error {
	p.note("remove", c.GetId())
	return nil
}

// node is a daemon with NRI.
type node struct {
	*harness.Bench
	client *harness.CRI
}

func newNode(t *testing.T, handler string) node {
	t.Helper()
	b := harness.StartWith(t, harness.Options{Daemon: harness.Lite, Handler: handler, NRI: harness.NRI{Enabled: true}})
	return node{b, b.Client(t, image.Busybox)}
}

// connect connects a plugin in this process, with an index that sets its place in the order.
func (n node) connect(t *testing.T, index string, p *plugin) {
	t.Helper()
	startStub(t, n, index, p)
	n.awaitPlugins(t, "test")
}

// startStub connects a plugin and waits until it is synchronized.
func startStub(t *testing.T, n node, index string, p *plugin) {
	t.Helper()
	p.ready = make(chan struct{})
	s, err := stub.New(p, stub.WithPluginName("test"), stub.WithPluginIdx(index), stub.WithSocketPath(n.Path("nri.sock")))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(); s.Wait() })
	<-p.ready
}

// awaitPlugins waits until crictl info has a plugin: then the daemon calls it.
func (n node) awaitPlugins(t *testing.T, name string) {
	t.Helper()
	err := harness.Await(t.Context(), func() error {
		answer, err := n.client.Status(t.Context(), &runtimeapi.StatusRequest{Verbose: true})
		if err == nil && !strings.Contains(answer.GetInfo()["nri"], name) {
			err = fmt.Errorf("no plugin %s in %s", name, answer.GetInfo()["nri"])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// pluginProcess starts a plugin in a process of its own and waits until it is synchronized.
func (n node) pluginProcess(t *testing.T, count int) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envSocket+"="+n.Path("nri.sock"), envCount+"="+strconv.Itoa(count))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line := make([]byte, len("synchronized\n"))
	if _, err := io.ReadFull(out, line); err != nil {
		t.Fatalf("plugin: %v", err)
	}
	n.awaitPlugins(t, "process")
	return cmd
}

// life runs a pod with a container and removes it. It returns their IDs.
func (n node) life(t *testing.T, name string) (pod, container string) {
	t.Helper()
	config := n.PodConfig(name)
	pod, err := n.client.RunPod(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	container, err = n.client.Run(t.Context(), pod, config, harness.ContainerConfig(config, "main", image.Busybox, "sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.client.UpdateContainerResources(t.Context(), &runtimeapi.UpdateContainerResourcesRequest{
		ContainerId: container, Linux: &runtimeapi.LinuxContainerResources{CpuShares: 512},
	})
	if err != nil {
		t.Error(err)
	}
	if err := n.client.RemovePod(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	return pod, container
}

// TestOtherShim checks the events of a pod with containerd's own shim.
func TestOtherShim(t *testing.T) {
	n := newNode(t, harness.HandlerRunc)
	n.NoLeaks(t, "each event once", func(t *testing.T) { eachOnce(t, n) })
}

// eachOnce checks that a plugin gets each event of a pod and its container once and in order.
func eachOnce(t *testing.T, n node) {
	p := &plugin{}
	n.connect(t, "10", p)
	pod, container := n.life(t, "once")
	if got := strings.Join(p.of(pod), " "); got != "run stop remove" {
		t.Errorf("events of the pod: %s", got)
	}
	want := "create postcreate start poststart update postupdate stop remove"
	if got := strings.Join(p.of(container), " "); got != want {
		t.Errorf("events of the container: %s, want %s", got, want)
	}
}

// TestFaults runs plugins that fail. Each subtest ends with the leak check.
func TestFaults(t *testing.T) {
	n := newNode(t, harness.HandlerLite)
	n.NoLeaks(t, "each event once", func(t *testing.T) { eachOnce(t, n) })
	n.NoLeaks(t, "killed", func(t *testing.T) {
		p := n.pluginProcess(t, 1)
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		n.life(t, "killed")
	})
	n.NoLeaks(t, "stopped by a signal", func(t *testing.T) {
		p := n.pluginProcess(t, 1)
		if err := p.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		n.life(t, "hang")
		n.life(t, "after-hang")
	})
	n.NoLeaks(t, "slow", func(t *testing.T) { slow(t, n) })
	n.NoLeaks(t, "10 000 adjustments", func(t *testing.T) {
		n.pluginProcess(t, 10000)
		n.life(t, "many")
	})
	n.NoLeaks(t, "garbage on the socket", func(t *testing.T) {
		conn, err := net.Dial("unix", n.Path("nri.sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = conn.Write([]byte(strings.Repeat("\xff\x00garbage", 4096))) // may be closed
		n.life(t, "garbage")
	})
	n.NoLeaks(t, "two plugins set one variable", func(t *testing.T) { conflict(t, n) })
	n.NoLeaks(t, "refusal", func(t *testing.T) { refusal(t, n) })
	n.NoLeaks(t, "restart of the daemon", func(t *testing.T) { restart(t, n) })
}

// slow checks that the node serves calls that need no plugin while one is slow, and that the
// container then gets what the plugin requests.
func slow(t *testing.T, n node) {
	ctx := t.Context()
	_, running := n.run(t, "runs")
	called, answered := make(chan struct{}), make(chan struct{})
	n.connect(t, "60", &plugin{create: func(*api.Container) (*api.ContainerAdjustment, error) {
		close(called)
		<-answered
		a := &api.ContainerAdjustment{}
		a.AddEnv("SLOW", "1")
		return a, nil
	}})
	var id string
	created := make(chan struct{})
	go func() {
		defer close(created)
		_, id = n.run(t, "waits")
	}()
	<-called
	if answer, err := n.client.ListContainers(ctx, &runtimeapi.ListContainersRequest{}); err != nil || len(answer.Containers) != 1 {
		t.Errorf("list: %d containers, %v; want the one that runs", len(answer.GetContainers()), err)
	}
	if _, err := n.client.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: running}); err != nil {
		t.Errorf("status: %v", err)
	}
	if _, err := n.client.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: running, Cmd: []string{"true"}}); err != nil {
		t.Errorf("exec: %v", err)
	}
	if _, err := n.client.ListPodSandboxStats(ctx, &runtimeapi.ListPodSandboxStatsRequest{}); err != nil {
		t.Errorf("stats: %v", err)
	}
	close(answered)
	<-created
	result, err := n.client.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"sh", "-c", "echo $SLOW"}})
	if err != nil || string(result.Stdout) != "1\n" {
		t.Errorf("the variable of the plugin: %q, %v", result.GetStdout(), err)
	}
}

// run runs a pod with a container until the end of the test.
func (n node) run(t *testing.T, name string) (pod, container string) {
	t.Helper()
	config := n.PodConfig(name)
	pod, err := n.client.RunPod(t.Context(), config)
	if err != nil {
		t.Errorf("pod %s: %v", name, err)
		return "", ""
	}
	t.Cleanup(func() {
		if err := n.client.RemovePod(harness.After(t), pod); err != nil {
			t.Errorf("pod %s: remove: %v", name, err)
		}
	})
	container, err = n.client.Run(t.Context(), pod, config, harness.ContainerConfig(config, "main", image.Busybox, "sleep", "1000"))
	if err != nil {
		t.Errorf("pod %s: container: %v", name, err)
	}
	return pod, container
}

// conflict checks that a container that two plugins change in contradiction is not created, and
// that the error names both.
func conflict(t *testing.T, n node) {
	set := func(value string) func(*api.Container) (*api.ContainerAdjustment, error) {
		return func(*api.Container) (*api.ContainerAdjustment, error) {
			a := &api.ContainerAdjustment{}
			a.AddEnv("KEY", value)
			return a, nil
		}
	}
	first, second := &plugin{create: set("1")}, &plugin{create: set("2")}
	n.connect(t, "30", first)
	n.connect(t, "31", second)
	config := n.PodConfig("conflict")
	pod, err := n.client.RunPod(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.client.RemovePod(harness.After(t), pod); err != nil {
			t.Error(err)
		}
	}()
	_, err = n.client.Run(t.Context(), pod, config, harness.ContainerConfig(config, "main", image.Busybox, "true"))
	if err == nil || !strings.Contains(err.Error(), "30-test") || !strings.Contains(err.Error(), "31-test") {
		t.Errorf("CreateContainer = %v, want an error that names both plugins", err)
	}
}

// refusal checks that a container that a plugin refuses is not created, and that the plugin gets
// its removal.
func refusal(t *testing.T, n node) {
	id := ""
	p := &plugin{create: func(c *api.Container) (*api.ContainerAdjustment, error) {
		id = c.GetId()
		return nil, fmt.Errorf("no CPUs left")
	}}
	n.connect(t, "40", p)
	config := n.PodConfig("refused")
	pod, err := n.client.RunPod(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.client.Run(t.Context(), pod, config, harness.ContainerConfig(config, "main", image.Busybox, "true"))
	if !strings.Contains(fmt.Sprint(err), "no CPUs left") || status.Code(err) == codes.DeadlineExceeded {
		t.Errorf("CreateContainer = %v, want the plugin's error", err)
	}
	if got := p.of(id); !slices.Equal(got, []string{"create", "stop", "remove"}) {
		t.Errorf("events %q", got)
	}
	if err := n.client.RemovePod(t.Context(), pod); err != nil {
		t.Error(err)
	}
}

// restart checks that a plugin that connects again, and one that connects after a restart of the
// daemon, get all pods and containers.
func restart(t *testing.T, n node) {
	const count = 100
	var ids, pods []string
	t.Run("first plugin", func(t *testing.T) {
		n.connect(t, "50", &plugin{})
		for i := range count {
			config := n.PodConfig(fmt.Sprint("kept-", i))
			harness.OnHostNetwork(config)
			pod, err := n.client.RunPod(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			container, err := n.client.Run(t.Context(), pod, config, harness.ContainerConfig(config, "main", image.Busybox, "sleep", "1000"))
			if err != nil {
				t.Fatal(err)
			}
			pods = append(pods, pod)
			ids = append(ids, pod, container)
		}
	})
	again := &plugin{}
	n.connect(t, "51", again)
	again.mustKnow(t, ids)
	if err := n.Daemon.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := &plugin{}
	n.connect(t, "52", after)
	after.mustKnow(t, ids)
	for _, pod := range pods {
		if err := n.client.RemovePod(t.Context(), pod); err != nil {
			t.Error(err)
		}
		if got := after.of(pod); !slices.Equal(got, []string{"stop", "remove"}) {
			t.Errorf("events of a pod from before the restart: %q", got)
		}
	}
}

// mustKnow checks that Synchronize had all pods and containers.
func (p *plugin) mustKnow(t *testing.T, ids []string) {
	t.Helper()
	for _, id := range ids {
		if !p.known[id] {
			t.Errorf("Synchronize does not have %s", id)
		}
	}
}
