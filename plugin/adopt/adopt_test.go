// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/paths"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/runtime/runtimetest"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

const (
	podMetadataJSON = `{"Version":"v1","Metadata":{"ID":"p1","Name":"web_ns_uid_0","Config":{"metadata":{"name":"web","uid":"uid","namespace":"ns"},
"hostname":"web","log_directory":"/var/log/pods/web","labels":{"a":"b"},"linux":{"security_context":{"namespace_options":{"pid":1}}}},
"NetNSPath":"/run/netns/cni-1","IP":"10.0.0.2","AdditionalIPs":["fd00::2"],"RuntimeHandler":"","CNIResult":{"Interfaces":{"eth0":{"IPConfigs":[{"IP":"10.0.0.2"}]}}},"ProcessLabel":"l"}}`
	containerMetadataJSON = `{"Version":"v1","Metadata":{"ID":"c1","Name":"main_web_ns_uid_0","SandboxID":"p1","Config":{"metadata":{"name":"main"},
"image":{"image":"sha256:1","user_specified_image":"busybox"},"log_path":"main/0.log"},"ImageRef":"sha256:1","LogPath":"/var/log/pods/web/main/0.log","StopSignal":"SIGTERM"}}`
	statusJSON = `{"Version":"v1","Pid":12,"CreatedAt":1,"StartedAt":2,"FinishedAt":0,"ExitCode":0,"Reason":"","Message":"","Resources":null}`
)

func stockSpec() *specs.Spec {
	return &specs.Spec{
		Process: &specs.Process{User: specs.User{UID: 5, GID: 6}},
		Linux:   &specs.Linux{CgroupsPath: "/pod/c1", MountLabel: "m"},
	}
}

// newStore returns a Store on a node with a pod and a container of the built-in CRI.
func newStore(t *testing.T) (*Store, *node) {
	t.Helper()
	n := &node{Containerd: runtimetest.New(func(any) string { return "" }), stock: map[runtime.Kind][]runtime.BuiltIn{
		runtime.KindPod: {{
			ID: "p1", Metadata: []byte(podMetadataJSON), Runtime: config.RuncRuntimeType, Created: time.Unix(0, 7), Spec: stockSpec(),
		}},
		runtime.KindContainer: {{
			ID: "c1", Metadata: []byte(containerMetadataJSON), Snapshotter: "overlayfs", Created: time.Unix(0, 8), Spec: stockSpec(),
		}},
	}}
	handlers := config.Runtime{}
	handlers.Containerd.DefaultRuntimeName = config.LiteHandler
	handlers.Containerd.Runtimes = map[string]config.Handler{
		config.LiteHandler: {Type: config.LiteRuntimeType}, config.RuncHandler: {Type: config.RuncRuntimeType},
	}
	dir := t.TempDir()
	s := &Store{
		Containerd: n, BuiltInCRI: n, Handlers: handlers, Bundles: filepath.Join(dir, "bundles"),
		Paths: paths.Paths{Root: filepath.Join(dir, "root"), State: filepath.Join(dir, "state")},
	}
	writeFile(t, filepath.Join(s.Paths.Container("c1").Root, "status"), statusJSON)
	return s, n
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// adopted returns the records of the node.
func adopted(t *testing.T, s *Store) (pods []*pod.Record, containers []*container.Record) {
	t.Helper()
	saved, err := s.Sandboxes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range saved {
		p := &pod.Record{}
		if err := json.Unmarshal(r.JSON, p); err != nil {
			t.Fatal(err)
		}
		pods = append(pods, p)
	}
	if saved, err = s.Containers(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range saved {
		c := &container.Record{}
		if err := json.Unmarshal(r.JSON, c); err != nil {
			t.Fatal(err)
		}
		containers = append(containers, c)
	}
	return pods, containers
}

var same = []cmp.Option{protocmp.Transform(), cmpopts.IgnoreUnexported(container.Record{}), cmpopts.IgnoreFields(network.Result{}, "CNI")}

// TestRecords checks the records of a pod whose pause process has ended and of its container. The
// pod has the handler with the shim that it was started with, not the default one.
func TestRecords(t *testing.T) {
	s, _ := newStore(t)
	pods, containers := adopted(t, s)
	wantPod := &pod.Record{
		ID: "p1", Name: "web_ns_uid_0", Handler: config.RuncHandler, CreatedAt: 7, State: pod.Stopping,
		HasInit:    true,
		Namespaces: network.Namespaces{Net: "/run/netns/cni-1"}, SELinux: spec.Labels{Process: "l", Mount: "m"},
		Network: network.Result{IP: "10.0.0.2", AdditionalIPs: []string{"fd00::2"}},
		Config: &runtimeapi.PodSandboxConfig{
			Metadata: &runtimeapi.PodSandboxMetadata{Name: "web", Uid: "uid", Namespace: "ns"}, Hostname: "web",
			LogDirectory: "/var/log/pods/web", Labels: map[string]string{"a": "b"},
			Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
			}},
		},
	}
	if diff := cmp.Diff([]*pod.Record{wantPod}, pods, same...); diff != "" {
		t.Errorf("pods (-want +got):\n%s", diff)
	}
	if got := pods[0].Network.CNI.Interfaces["eth0"].IPConfigs[0].IP.String(); got != "10.0.0.2" {
		t.Errorf("address of eth0: %s", got)
	}
	wantContainer := &container.Record{
		ID: "c1", Name: "main_web_ns_uid_0", PodID: "p1", LogDir: "/var/log/pods/web", StopSignal: "SIGTERM", PID: 12,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "main"}, LogPath: "main/0.log",
			Image: &runtimeapi.ImageSpec{Image: "sha256:1", UserSpecifiedImage: "busybox"},
		},
		Image:   container.Image{ID: "sha256:1", Name: "busybox"},
		Runtime: container.Runtime{Handler: config.RuncHandler, Snapshotter: "overlayfs", BuiltIn: true},
		Times:   container.Times{Created: 1, Started: 2},
		Applied: container.Applied{
			Cgroup: "/pod/c1", User: &runtimeapi.LinuxContainerUser{Uid: 5, Gid: 6}, Resources: containers[0].Resources,
			SELinux: spec.Labels{Mount: "m"},
		},
	}
	if diff := cmp.Diff([]*container.Record{wantContainer}, containers, same...); diff != "" {
		t.Errorf("containers (-want +got):\n%s", diff)
	}
}

// TestPauseProcess checks that a pod is ready while its pause process runs, and where its
// namespaces are: the process has those that are not pinned. If the shim does not answer, the PID
// is that in the bundle, unless another process has it now.
func TestPauseProcess(t *testing.T) {
	s, _ := newStore(t)
	m := podMetadata{ID: "p1", NetNSPath: "/run/netns/cni-1", Config: &runtimeapi.PodSandboxConfig{}}
	got := s.namespacesOf(m, 5)
	want := network.Namespaces{Net: "/run/netns/cni-1", IPC: "/proc/5/ns/ipc", UTS: "/proc/5/ns/uts"}
	if got != want {
		t.Errorf("namespaces %+v, want %+v", got, want)
	}
	m.NetNSPath = ""
	if got := s.namespacesOf(m, 5).Net; got != "/proc/5/ns/net" {
		t.Errorf("network namespace that is not pinned: %q", got)
	}
	m.Config.Linux = &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
		NamespaceOptions: &runtimeapi.NamespaceOption{
			Network: runtimeapi.NamespaceMode_NODE, Ipc: runtimeapi.NamespaceMode_NODE,
			UsernsOptions: &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_POD},
		},
	}}
	if got, want := s.namespacesOf(m, 5), (network.Namespaces{User: "/proc/5/ns/user"}); got != want {
		t.Errorf("namespaces of the node %+v, want %+v", got, want)
	}
	writeFile(t, s.Paths.Pod("p1").PinnedUser(), "")
	if got, want := s.namespacesOf(m, 5), (network.Namespaces{User: s.Paths.Pod("p1").PinnedUser()}); got != want {
		t.Errorf("pinned user namespace %+v, want %+v", got, want)
	}
	pid := filepath.Join(s.Bundles, "p1", "init.pid")
	for text, why := range map[string]string{"": "empty", "x": "no number", "1": "in another cgroup", "4194304": "gone"} {
		writeFile(t, pid, text)
		if got := s.pidInBundle("p1"); got != 0 {
			t.Errorf("%s: %d", why, got)
		}
	}
}

// TestNotAdopted checks that a pod that cannot be adopted is not ready, names the reason, and can
// be removed with its containers.
func TestNotAdopted(t *testing.T) {
	for reason, change := range map[string]func(*runtime.BuiltIn){
		"decode metadata":                     func(s *runtime.BuiltIn) { s.Metadata = []byte("{") },
		`version "v9" of the metadata`:        func(s *runtime.BuiltIn) { s.Metadata = []byte(`{"Version":"v9"}`) },
		`record belongs to pod "p1"`:          func(s *runtime.BuiltIn) { s.ID = "p2" },
		"no runtime handler has the type":     func(s *runtime.BuiltIn) { s.Runtime = "io.containerd.kata.v2" },
		`pods of sandbox controller "shim"`:   func(s *runtime.BuiltIn) { s.Sandboxer = "shim" },
		"decode metadata: unexpected end of ": func(s *runtime.BuiltIn) { s.Metadata = nil },
		"network namespace /etc/passwd": func(s *runtime.BuiltIn) {
			s.Metadata = []byte(strings.Replace(podMetadataJSON, "/run/netns/cni-1", "/etc/passwd", 1))
		},
		"network namespace /run/netns/../x": func(s *runtime.BuiltIn) {
			s.Metadata = []byte(strings.Replace(podMetadataJSON, "/run/netns/cni-1", "/run/netns/../x", 1))
		},
		"decode updated resources": func(s *runtime.BuiltIn) { s.Resources = []byte("{") },
	} {
		s, n := newStore(t)
		stock := &n.stock[runtime.KindPod][0]
		stock.Labels = map[string]string{"io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "ns", "io.kubernetes.pod.uid": "uid"}
		change(stock)
		pods, _ := adopted(t, s)
		if len(pods) != 1 || pods[0].State != pod.Stopping || len(pods[0].Unfinished) != 1 || !strings.Contains(pods[0].Unfinished[0], reason) {
			t.Errorf("%s: %+v", reason, pods)
			continue
		}
		if pods[0].Namespaces != (network.Namespaces{}) && (stock.ID != "p1" || strings.HasPrefix(reason, "network")) {
			t.Errorf("%s: would remove %+v", reason, pods[0].Namespaces)
		}
		if m := pods[0].Config.GetMetadata(); m.GetName() != "web" || m.GetNamespace() != "ns" || m.GetUid() != "uid" {
			t.Errorf("%s: metadata %v", reason, m)
		}
	}
}

// TestContainerWithoutItsRecord checks containers of which not everything can be read.
func TestContainerWithoutItsRecord(t *testing.T) {
	s, n := newStore(t)
	n.stock[runtime.KindPod] = nil
	writeFile(t, s.Paths.Container("c1").Status(), "{")
	_, containers := adopted(t, s)
	if want := (container.Times{Created: 8, Started: 8}); len(containers) != 1 || containers[0].Times != want || containers[0].PodID != "p1" {
		t.Errorf("without a status and a pod: %+v, want %+v", containers, want)
	}
	for why, change := range map[string]func(*node){
		"no metadata": func(n *node) { n.stock[runtime.KindContainer][0].Metadata = nil },
		"other ID":    func(n *node) { n.stock[runtime.KindContainer][0].ID = "c2" },
	} {
		s, n := newStore(t)
		change(n)
		if _, containers := adopted(t, s); len(containers) != 0 {
			t.Errorf("%s: %+v", why, containers[0])
		}
	}
}

// TestPipes checks that the pipes of a running container are found, and that it is the newest of
// several directories.
func TestPipes(t *testing.T) {
	s, _ := newStore(t)
	io := s.Paths.Container("c1").IO()
	if got := pipesIn(io, "c1"); got != "" {
		t.Errorf("without pipes: %s", got)
	}
	for i, dir := range []string{"1", "2", "0"} {
		path := filepath.Join(io, dir, "c1-stdout")
		writeFile(t, path, "")
		if err := os.Chtimes(path, time.Unix(int64(i), 0), time.Unix(int64(i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	_, containers := adopted(t, s)
	if got, want := containers[0].Runtime.Pipes, filepath.Join(io, "0"); got != want {
		t.Errorf("pipes in %s, want %s", got, want)
	}
}

func TestLogDir(t *testing.T) {
	for _, test := range []struct{ path, name, want string }{
		{"/logs/web/main/0.log", "main/0.log", "/logs/web"},
		{"/logs/web/main.log", "main.log", "/logs/web"},
		{"/logs/web/main.log", "./main.log", "/logs/web"},
		{"", "", ""},
		{"/logs/web", "", ""},
	} {
		m := containerMetadata{LogPath: test.path, Config: &runtimeapi.ContainerConfig{LogPath: test.name}}
		if got := logDir(m); got != test.want {
			t.Errorf("%s, %s: %q, want %q", test.path, test.name, got, test.want)
		}
	}
}

// TestPodIsSavedInItsOwnFormat checks that of a pod of the built-in CRI only its resources are
// saved, when they change, and that its metadata survives its container.
func TestPodIsSavedInItsOwnFormat(t *testing.T) {
	s, n := newStore(t)
	pods, _ := adopted(t, s)
	pods[0].State = pod.Stopped
	if err := s.SaveSandbox(t.Context(), runtime.Sandbox{ID: "p1", Record: pods[0]}); err != nil {
		t.Fatal(err)
	}
	n.changed(t)
	pods[0].Config.Linux.Resources = &runtimeapi.LinuxContainerResources{CpuShares: 5}
	for range 2 {
		if err := s.SaveSandbox(t.Context(), runtime.Sandbox{ID: "p1", Record: pods[0]}); err != nil {
			t.Fatal(err)
		}
	}
	n.changed(t, `resources p1 {"Overhead":null,"Resources":{"cpu_shares":5}}`)
	n.stock[runtime.KindPod][0].Resources = []byte(`{"Resources":{"cpu_shares":6}}`)
	if pods, _ = adopted(t, s); pods[0].Config.Linux.Resources.GetCpuShares() != 6 {
		t.Errorf("updated resources: %v", pods[0].Config.Linux)
	}
	if err := s.DeleteContainer(t.Context(), "p1"); err != nil {
		t.Fatal(err)
	}
	n.changed(t, "keep p1")
	if err := s.DeleteContainer(t.Context(), "c1"); err != nil {
		t.Fatal(err)
	}
	n.changed(t)
	if n.SandboxRecords["p1"] != nil {
		t.Error("a record of ours was saved")
	}
}

// TestOtherSandboxController checks that a pod without a task is ended by its controller.
func TestOtherSandboxController(t *testing.T) {
	s, n := newStore(t)
	n.stock[runtime.KindPod][0].Sandboxer = "shim"
	adopted(t, s)
	for _, id := range []string{"p1", "c1"} {
		if err := s.DeleteTask(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	n.changed(t, "stop shim p1")
}

// TestHandler checks that a pod keeps the handler with its shim and options: another could run its
// containers in another OCI runtime.
func TestHandler(t *testing.T) {
	runc := func(binary string) config.Handler {
		return config.Handler{Type: config.RuncRuntimeType, Options: map[string]any{"BinaryName": binary}}
	}
	for _, test := range []struct {
		name, requested, binary string
		annotations             map[string]string
		want                    string
	}{
		{"default of containerd", "", "", nil, "runc"},
		{"requested", "crun", "crun", nil, "crun"},
		{"default is another now", "", "crun", nil, "crun"},
		{"options have changed", "crun", "other", nil, "crun"},
		{"untrusted", "", "gvisor", map[string]string{pod.UntrustedAnnotation: "true"}, "untrusted"},
	} {
		s, _ := newStore(t)
		handlers := config.Runtime{}
		handlers.Containerd.DefaultRuntimeName = config.LiteHandler
		handlers.Containerd.Runtimes = map[string]config.Handler{
			"lite": {Type: config.LiteRuntimeType}, "runc": runc(""), "crun": runc("crun"), "a": runc("a"), "untrusted": runc("gvisor"),
		}
		s.Handlers = handlers
		m := podMetadata{RuntimeHandler: test.requested, Config: &runtimeapi.PodSandboxConfig{Annotations: test.annotations}}
		got, err := s.handlerOf(m, runtime.BuiltIn{Runtime: config.RuncRuntimeType, Options: &runcoptions.Options{BinaryName: test.binary}})
		if err != nil || got != test.want {
			t.Errorf("%s: %q, %v, want %q", test.name, got, err, test.want)
		}
	}
}

// TestStatusFile checks that the built-in CRI would find the state of its containers after a change
// back.
func TestStatusFile(t *testing.T) {
	s, n := newStore(t)
	_, containers := adopted(t, s)
	r := containers[0]
	r.Times.Finished, r.Exit = 3, container.Exit{Code: 7, Reason: "Error", Message: "m"}
	if err := s.SaveContainer(t.Context(), runtime.Container{ID: r.ID, Record: r}); err != nil {
		t.Fatal(err)
	}
	status, err := readStatus(s.Paths.Container(r.ID).Status())
	if err != nil {
		t.Fatal(err)
	}
	want := containerStatus{
		Pid: 12, CreatedAt: 1, StartedAt: 2, FinishedAt: 3, ExitCode: 7, Reason: "Error", Message: "m",
		Resources: &runtimeapi.ContainerResources{Linux: r.Resources},
	}
	if diff := cmp.Diff(want, status.containerStatus, protocmp.Transform()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if n.ContainerRecords[r.ID] != nil {
		t.Error("a record of ours was saved")
	}
}

// TestDeleteSandbox checks that a pod of the built-in CRI leaves neither its lease nor image
// volumes.
func TestDeleteSandbox(t *testing.T) {
	s, n := newStore(t)
	adopted(t, s)
	dir := filepath.Join(s.Paths.State, "image-volumes", "p1")
	pinned := filepath.Dir(s.Paths.Pod("p1").PinnedUser())
	for _, dir := range []string{filepath.Join(dir, "sha256:1"), pinned} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DeleteSandbox(t.Context(), "p1"); err != nil {
		t.Fatal(err)
	}
	n.changed(t, "lease p1")
	for _, dir := range []string{dir, pinned, s.Paths.Pod("p1").State} {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
}
