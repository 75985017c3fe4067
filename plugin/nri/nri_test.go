// SPDX-License-Identifier: Apache-2.0

package nri

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/stub"
	gometrics "github.com/docker/go-metrics" //nolint:depguard // containerd's NRI plugin uses it
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// fakeNode is a node whose containers are "running", or "stuck": an update of those fails.
type fakeNode struct {
	mu    sync.Mutex
	lists []Subject // containers
	calls []string
	wait  chan struct{} // an update waits for it
}

func (n *fakeNode) Subjects(context.Context) (pods, containers []Subject) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return []Subject{pod("p")}, append([]Subject(nil), n.lists...)
}

func (n *fakeNode) Update(_ context.Context, id string, r *api.LinuxResources) error {
	n.mu.Lock()
	n.calls = append(n.calls, fmt.Sprintf("update %s to cpus %s", id, r.GetCpu().GetCpus()))
	wait := n.wait
	n.mu.Unlock()
	if wait != nil {
		<-wait
	}
	switch id {
	case "stuck":
		return errors.New("stuck")
	case "gone":
		return errdefs.ErrNotFound
	}
	return nil
}

func (n *fakeNode) add(s Subject) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lists = append(n.lists, s)
}

func (n *fakeNode) called() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.calls...)
}

func pod(id string) Subject {
	return func() (*api.PodSandbox, *api.Container) { return &api.PodSandbox{Id: id, Name: id}, nil }
}

func container(id string) Subject {
	return func() (*api.PodSandbox, *api.Container) {
		return &api.PodSandbox{Id: "p"}, &api.Container{Id: id, PodSandboxId: "p", Name: id}
	}
}

// testPlugin is an NRI plugin that records its calls.
type testPlugin struct {
	mu     sync.Mutex
	calls  []string
	known  map[string]bool // pods and containers
	synced chan struct{}
	hang   chan struct{} // CreateContainer waits for it

	create  func(id string) (*api.ContainerAdjustment, []*api.ContainerUpdate, error)
	refusal error // of RunPodSandbox
	onSync  []*api.ContainerUpdate
	stub    stub.Stub
}

func (p *testPlugin) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, fmt.Sprintf(format, args...))
}

func (p *testPlugin) trace() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.calls...)
}

func (p *testPlugin) learn(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[id] = true
}

func (p *testPlugin) knows(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[id]
}

func (p *testPlugin) Synchronize(_ context.Context, pods []*api.PodSandbox, containers []*api.Container) ([]*api.ContainerUpdate, error) {
	for _, one := range pods {
		p.learn(one.GetId())
	}
	for _, one := range containers {
		p.learn(one.GetId())
	}
	close(p.synced)
	return p.onSync, nil
}

func (p *testPlugin) RunPodSandbox(_ context.Context, one *api.PodSandbox) error {
	p.note("run %s", one.GetId())
	p.learn(one.GetId())
	return p.refusal
}

func (p *testPlugin) StopPodSandbox(_ context.Context, one *api.PodSandbox) error {
	p.note("stop %s", one.GetId())
	return nil
}

func (p *testPlugin) RemovePodSandbox(_ context.Context, one *api.PodSandbox) error {
	p.note("remove %s", one.GetId())
	return nil
}

func (p *testPlugin) CreateContainer(_ context.Context, _ *api.PodSandbox, c *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	p.note("create %s", c.GetId())
	p.learn(c.GetId())
	if p.hang != nil {
		<-p.hang
	}
	if p.create == nil {
		return nil, nil, nil
	}
	return p.create(c.GetId())
}

// site is a node with NRI.
type site struct {
	node    *fakeNode
	plugins *Plugins
	socket  string
}

func newSite(t *testing.T, change func(*config.NRI)) *site {
	t.Helper()
	dir := t.TempDir()
	c := config.NRI{
		SocketPath:           filepath.Join(dir, "nri.sock"),
		PluginPath:           filepath.Join(dir, "plugins"),
		PluginConfigPath:     filepath.Join(dir, "conf.d"),
		PluginRequestTimeout: "5s",
	}
	if change != nil {
		change(&c)
	}
	s := &site{node: &fakeNode{}, socket: c.SocketPath}
	s.plugins = New(Options{Config: c, Name: "containerd", Version: "v2", Deprecated: func(context.Context, string, string) {}})
	if err := s.plugins.Start(t.Context(), s.node); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.plugins.Close)
	return s
}

// connect connects a plugin and waits until NRI calls it.
func (s *site) connect(t *testing.T, p *testPlugin) {
	t.Helper()
	p.known, p.synced = map[string]bool{}, make(chan struct{})
	var err error
	if p.stub, err = stub.New(p, stub.WithPluginName("test"), stub.WithPluginIdx("10"), stub.WithSocketPath(s.socket)); err != nil {
		t.Fatal(err)
	}
	before := s.plugins.metrics.connected.Load()
	if err := p.stub.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stub.Stop)
	<-p.synced
	for s.plugins.metrics.connected.Load() == before {
		time.Sleep(time.Millisecond)
	}
}

// Without a plugin nothing is built for one.
func TestNoPlugin(t *testing.T) {
	s := newSite(t, nil)
	built := func() (*api.PodSandbox, *api.Container) { t.Error("a value for plugins was built"); return nil, nil }
	if err := s.plugins.RunPodSandbox(t.Context(), "p", built); err != nil {
		t.Error(err)
	}
	s.plugins.Seen("p")
	if a, err := s.plugins.CreateContainer(t.Context(), "c", built); a != nil || err != nil {
		t.Errorf("CreateContainer = %v, %v", a, err)
	}
	s.plugins.Seen("c")
	s.plugins.StopPodSandbox(t.Context(), built)
	if err := Disabled().RunPodSandbox(t.Context(), "p", built); err != nil {
		t.Error(err)
	}
}

// Synchronize has the containers that the node lists, and those that it does not list yet.
func TestSynchronize(t *testing.T) {
	s := newSite(t, nil)
	s.node.add(container("old"))
	if _, err := s.plugins.CreateContainer(t.Context(), "new", container("new")); err != nil {
		t.Fatal(err)
	}
	p := &testPlugin{onSync: []*api.ContainerUpdate{cpus("old", "3")}}
	s.connect(t, p)
	for _, id := range []string{"p", "old", "new"} {
		if !p.knows(id) {
			t.Errorf("the plugin does not know %s", id)
		}
	}
	for len(s.node.called()) == 0 {
		time.Sleep(time.Millisecond)
	}
	if diff := cmp.Diff([]string{"update old to cpus 3"}, s.node.called()); diff != "" {
		t.Errorf("calls of the node (-want +got):\n%s", diff)
	}
}

// An update that a plugin requests when it connects may wait for a container whose start waits for
// plugins.
func TestUpdateOfAPluginThatConnectsBlocksNoCall(t *testing.T) {
	s := newSite(t, nil)
	s.node.wait = make(chan struct{})
	s.node.add(container("starting"))
	p := &testPlugin{onSync: []*api.ContainerUpdate{cpus("starting", "3")}}
	s.connect(t, p)
	for len(s.node.called()) == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := s.plugins.StartContainer(t.Context(), container("starting")); err != nil {
		t.Error(err)
	}
	close(s.node.wait)
}

// After Close, a request for plugins is Unavailable: a container must not start without them.
func TestClosed(t *testing.T) {
	s := newSite(t, nil)
	s.plugins.Close()
	if _, err := s.plugins.CreateContainer(t.Context(), "c", container("c")); !errdefs.IsUnavailable(err) {
		t.Errorf("CreateContainer = %v, want Unavailable", err)
	}
}

// The error of a plugin has a bounded text and not the code of the plugin.
func TestErrorOfAPlugin(t *testing.T) {
	s := newSite(t, nil)
	p := &testPlugin{refusal: status.Error(codes.NotFound, strings.Repeat("no ", 10000))}
	s.connect(t, p)
	err := s.plugins.RunPodSandbox(t.Context(), "q", pod("q"))
	if !errdefs.IsFailedPrecondition(err) || errdefs.IsNotFound(err) || len(err.Error()) > 2*maxError {
		t.Errorf("RunPodSandbox = %.100v, %d bytes", err, len(err.Error()))
	}
}

// While containers are created all the time, a plugin that connects learns of each, once it is
// visible.
func TestPluginConnectsWhileContainersAreCreated(t *testing.T) {
	s := newSite(t, nil)
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("c%d-%d", w, i)
				if _, err := s.plugins.CreateContainer(t.Context(), id, container(id)); err != nil {
					t.Error(err)
				}
				s.node.add(container(id))
				s.plugins.Seen(id)
			}
		})
	}
	p := &testPlugin{}
	s.connect(t, p)
	close(stop)
	workers.Wait()
	for _, subject := range s.node.lists {
		if _, c := subject(); !p.knows(c.GetId()) {
			t.Errorf("the plugin does not know %s", c.GetId())
		}
	}
}

func cpus(id, list string) *api.ContainerUpdate {
	u := &api.ContainerUpdate{}
	u.SetContainerId(id)
	u.SetLinuxCPUSetCPUs(list)
	return u
}

// A plugin adjusts a new container, updates others and fails to update some.
func TestPluginAnswersToCreate(t *testing.T) {
	s := newSite(t, nil)
	p := &testPlugin{create: func(string) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
		a := &api.ContainerAdjustment{}
		a.AddEnv("KEY", "value")
		return a, []*api.ContainerUpdate{cpus("running", "1"), cpus("stuck", "2"), cpus("gone", "3")}, nil
	}}
	s.connect(t, p)
	a, err := s.plugins.CreateContainer(t.Context(), "c", container("c"))
	if err != nil || len(a.GetEnv()) != 1 || a.GetEnv()[0].GetValue() != "value" {
		t.Errorf("CreateContainer = %v, %v", a, err)
	}
	want := []string{"update running to cpus 1", "update stuck to cpus 2", "update gone to cpus 3"}
	if diff := cmp.Diff(want, s.node.called()); diff != "" {
		t.Errorf("calls of the node (-want +got):\n%s", diff)
	}
	shown := s.plugins.Status()
	if shown.Active != 1 || len(shown.Plugins) != 1 || shown.Plugins[0].Name != "10-test" || shown.Plugins[0].Calls == 0 {
		t.Errorf("status %+v", shown)
	}
}

// The error of the call has the text of the plugin. Then the stop and the removal of the pod are
// sent.
func TestPluginRefusesAPod(t *testing.T) {
	s := newSite(t, nil)
	p := &testPlugin{refusal: errors.New("no room on socket 1")}
	s.connect(t, p)
	err := s.plugins.RunPodSandbox(t.Context(), "q", pod("q"))
	if err == nil || !strings.Contains(err.Error(), "no room on socket 1") {
		t.Errorf("RunPodSandbox = %v, want the plugin's text", err)
	}
	if diff := cmp.Diff([]string{"run q", "stop q", "remove q"}, p.trace()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// A plugin that hangs costs its time-out once, and is not called again.
func TestPluginHangs(t *testing.T) {
	s := newSite(t, func(c *config.NRI) { c.PluginRequestTimeout = "200ms" })
	p := &testPlugin{hang: make(chan struct{})}
	defer close(p.hang)
	s.connect(t, p)
	for _, id := range []string{"a", "b"} {
		if _, err := s.plugins.CreateContainer(t.Context(), id, container(id)); err != nil {
			t.Errorf("CreateContainer %s = %v", id, err)
		}
	}
	if diff := cmp.Diff([]string{"create a"}, p.trace()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// The end of a caller does not disconnect the plugin that it waits for.
func TestCallerGivesUp(t *testing.T) {
	s := newSite(t, nil)
	p := &testPlugin{}
	s.connect(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, id := range []string{"a", "b"} {
		if err := s.plugins.RunPodSandbox(ctx, id, pod(id)); err != nil {
			t.Errorf("RunPodSandbox %s = %v", id, err)
		}
	}
	if diff := cmp.Diff([]string{"run a", "run b"}, p.trace()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// A plugin changes containers on its own initiative, and learns which changes failed.
func TestUnsolicitedUpdate(t *testing.T) {
	s := newSite(t, nil)
	p := &testPlugin{}
	s.connect(t, p)
	tolerated := cpus("stuck", "2")
	tolerated.SetIgnoreFailure()
	failed, err := p.stub.UpdateContainers([]*api.ContainerUpdate{cpus("running", "1"), tolerated, cpus("gone", "3")})
	if err != nil || len(failed) > 0 {
		t.Errorf("failed %v, %v; want none", failed, err)
	}
	if _, err = p.stub.UpdateContainers([]*api.ContainerUpdate{cpus("stuck", "4")}); err == nil {
		t.Error("the update of a stuck container succeeded")
	}
}

// A required plugin that is not connected is named by the error.
func TestRequiredPluginIsMissing(t *testing.T) {
	s := newSite(t, func(c *config.NRI) {
		c.DefaultValidator = &config.NRIValidator{Enable: true, RequiredPlugins: []string{"topology"}}
	})
	_, err := s.plugins.CreateContainer(t.Context(), "c", container("c"))
	if err == nil || !strings.Contains(err.Error(), "topology") {
		t.Errorf("CreateContainer = %v, want an error that names the plugin", err)
	}
}

// An unusable plugin directory is an error that says what to do.
func TestStartFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	plugins := New(Options{Config: config.NRI{SocketPath: filepath.Join(file, "nri.sock"), PluginPath: "/proc/self/exe"}})
	defer plugins.Close()
	if err := plugins.Start(t.Context(), &fakeNode{}); err == nil || !strings.Contains(err.Error(), "disable = true") {
		t.Errorf("Start = %v, want a hint", err)
	}
}

// The metrics have the names of the built-in CRI's, and replace those that containerd's own plugin
// has registered.
func TestMetrics(t *testing.T) {
	stock := gometrics.NewNamespace("containerd", "nri", nil)
	stock.NewGauge("active_plugins", "Number of currently active NRI plugins", gometrics.Total)
	stock.NewLabeledCounter("plugin_invocations", "Number of NRI plugin invocations", "plugin", "operation", "status", "error")
	stock.NewLabeledCounter("plugin_adjustments", "Number of adjustment operations from plugins", "plugin", "operation", "type")
	stock.NewLabeledTimer("plugin_latency", "NRI plugin operation latency", "plugin", "operation")
	prometheus.Unregister(stock) // those of an earlier test
	gometrics.Register(stock)
	s := newSite(t, nil)
	s.connect(t, &testPlugin{})
	if err := s.plugins.RunPodSandbox(t.Context(), "a", pod("a")); err != nil {
		t.Fatal(err)
	}
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			found[f.GetName()] += m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for _, name := range []string{"active_plugins_total", "plugin_invocations_total", "plugin_latency_seconds"} {
		if found["containerd_nri_"+name] == 0 {
			t.Errorf("containerd_nri_%s is zero", name)
		}
	}
}
