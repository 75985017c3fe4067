// SPDX-License-Identifier: Apache-2.0

// Package firsttime is the first day with containerd-lite: a test breaks one thing of a node at a
// time. `containerd-lite check` must name it and say what to do, the error of a pod must name it,
// and once it is mended, a pod must run without a restart of the daemon.
package firsttime

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// fault is one thing that is broken.
type fault struct {
	name string
	// breakIt breaks it, and returns the function that mends it.
	breakIt func(t *testing.T, n node) (mend func() error)
	// check is the name of the check, and says is part of its finding: the object. do is part of
	// what it says to type.
	check, says, do string
	// inInfo is true if `crictl info` has the finding, too: all but those that need a network.
	inInfo bool
	// pod is part of the error of a pull or a pod.
	pod string
}

func faults() []fault {
	conf := func(n node) string { return filepath.Join(n.Network.ConfDir, "10-bench.conflist") }
	hosts := func(n node) string { return n.Path("certs.d", "registry.k8s.io", "hosts.toml") }
	return []fault{
		{"no CNI config", remove(conf), "cni", "no CNI config in ", "install the network", true, "no CNI config in "},
		{"no CNI directory", remove(func(n node) string { return n.Network.ConfDir }), "cni", "no CNI config in ", "install the network", true, "no CNI config in "},
		{"syntax of the CNI config", write(conf, "{"), "cni", "10-bench.conflist", "mend the file", true, "10-bench.conflist"},
		{"empty CNI config", write(conf, `{"cniVersion":"1.0.0","name":"x","plugins":[]}`), "cni", "10-bench.conflist", "mend the file", true, "10-bench.conflist"},
		{"CNI plugin", remove(func(n node) string { return filepath.Join(n.Network.BinDir, "bridge") }), "cni", "plugin bridge is not in ", "cni.bin_dirs", true, `"bridge"`},
		{"chained CNI plugin", remove(func(n node) string { return filepath.Join(n.Network.BinDir, "portmap") }), "cni", "plugin portmap is not in ", "cni.bin_dirs", true, `"portmap"`},
		{"IPAM plugin", remove(func(n node) string { return filepath.Join(n.Network.BinDir, "host-local") }), "cni", "plugin host-local is not in ", "cni.bin_dirs", true, `"host-local"`},
		{"CNI plugin is not executable", notExecutable, "cni", "plugin bridge is not executable", "chmod +x ", true, "permission denied"},
		{"no address left", takeAll, "cni", "addresses of 198.18.", "use a larger subnet", true, "no IP addresses available"},
		{"syntax of hosts.toml", write(hosts, "server = \n"), "registry", "hosts.toml:1:", "mend the line", true, "hosts.toml"},
		{"registry is down", write(hosts, "server = \"http://127.0.0.1:1\"\n"), "registry", "http://127.0.0.1:1/v2 for images of registry.k8s.io does not answer", "curl -v", false, "127.0.0.1:1"},
		{"registry is another server", serve(hosts, http.NotFound), "registry", "is no registry: 404", "override_path", false, "not found"},
		{"credentials", serve(hosts, unauthorized), "registry", "accepts no request of this node: 401", "credentials", false, "authorization failed"},
		{"registry hangs", serve(hosts, hang), "registry", "does not answer", "curl -v", false, ""},
		{"shim", remove(func(n node) string { return n.shim }), "runtime", "handler own: shim ", "install the shim", true, "is not installed"},
		{"OCI runtime", remove(func(n node) string { return n.runc }), "runtime", "handler own: OCI runtime ", "BinaryName", true, "is not installed"},
		{"shim is not executable", chmod(func(n node) string { return n.shim }), "runtime", "handler own: shim ", "install the shim", true, "is not installed"},
		{"OCI runtime is not executable", chmod(func(n node) string { return n.runc }), "runtime", "handler own: OCI runtime ", "BinaryName", true, "permission denied"},
		{"full disk", fill, "disk", " MiB left: pulls fail", "free space", true, "no space left on device"},
		{"CDI spec", write(func(n node) string { return n.Path("cdi", "broken.json") }, "{"), "cdi", "broken.json", "remove the file", true, ""},
		{"kubelet's cgroup driver", kubelet("cgroupDriver: systemd"), "kubelet", "has cgroupDriver: systemd", "SystemdCgroup = true", true, ""},
		{"syntax of the kubelet's config", kubelet("cgroupDriver: ["), "kubelet", "kubelet.yaml: ", "mend the line", true, ""},
		{"kubelet's socket", kubelet("containerRuntimeEndpoint: unix:///run/other.sock"), "kubelet", "the kubelet uses /run/other.sock", "containerRuntimeEndpoint", true, ""},
		{"another runtime", other, "leftovers", "CRI-O runs, too", "systemctl disable", true, ""},
	}
}

// node is a bench with a handler of its own, whose shim and runc can be removed.
type node struct {
	*harness.Bench
	*harness.CRI
	shim, runc string
}

func TestFirstTime(t *testing.T) {
	n := newNode(t)
	n.userRunsAPod(t, "")
	n.removePods(t)
	usual, usualInfo := n.check(t), n.info(t)
	for _, f := range faults() {
		n.NoLeaks(t, f.name, func(t *testing.T) {
			mend := f.breakIt(t, n)
			func() {
				defer func() {
					if err := mend(); err != nil {
						t.Fatal(err)
					}
				}()
				n.named(t, f, usual)
				if f.pod != "" {
					n.userRunsAPod(t, f.pod)
				}
			}()
			n.removePods(t)
			n.awaitUsual(t, usual, usualInfo)
			n.userRunsAPod(t, "")
			n.removePods(t)
		})
	}
}

// TestConfigTypo checks that an error in config.toml is named with its line, that a reload rejects
// it while pods can start, and that the mended file is applied without a restart.
func TestConfigTypo(t *testing.T) {
	n := newNode(t)
	data, err := os.ReadFile(n.Daemon.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.Daemon.Config, []byte(strings.Replace(string(data), "conf_dir =", "conf_dir = 7 #", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	found := n.check(t)
	if len(found) != 1 || found[0].Check != "config" || !strings.Contains(found[0].What, n.Daemon.Config+":") || !strings.Contains(found[0].What, "conf_dir") {
		t.Errorf("check: %v", found)
	}
	if out, err := n.reload(t); err == nil || !strings.Contains(out, "nothing is changed: "+n.Daemon.Config+":") || !strings.Contains(out, "conf_dir") {
		t.Errorf("reload of a wrong file: %v: %s", err, out)
	}
	n.userRunsAPod(t, "")
	n.removePods(t)
	if err := os.WriteFile(n.Daemon.Config, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := n.reload(t); err != nil {
		t.Errorf("reload of the mended file: %v: %s", err, out)
	}
	n.userRunsAPod(t, "")
	n.removePods(t)
}

// reload runs the command `config reload`.
func (n node) reload(t *testing.T) (output string, err error) {
	t.Helper()
	cmd := n.Daemon.Lite(t.Context(), "config", "reload")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func newNode(t *testing.T) node {
	t.Helper()
	dir, err := os.MkdirTemp("", "first")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	n := node{shim: filepath.Join(dir, "shim"), runc: filepath.Join(dir, "runc")}
	n.Bench = harness.StartWith(t, harness.Options{DiskMiB: 1024, Config: fmt.Sprintf(`
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.own]
  runtime_type = "io.containerd.lite.v2"
  runtime_path = %q
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.own.options]
  BinaryName = %q
`, n.shim, n.runc)})
	for from, to := range map[string]string{"../../../bin/containerd-shim-lite-v2": n.shim, n.Tool("runc"): n.runc} {
		if out, err := exec.CommandContext(t.Context(), "cp", from, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	n.CRI = n.Client(t)
	return n
}

// finding is a line of `containerd-lite check --json`.
type finding struct{ Level, Check, What, Do string }

// check runs `containerd-lite check` and returns its findings that are not ok.
func (n node) check(t *testing.T) []finding {
	t.Helper()
	cmd := n.Daemon.Lite(t.Context(), "check", "--json")
	out, _ := cmd.Output() // it fails if there is an error
	var all []finding
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return slices.DeleteFunc(all, func(f finding) bool { return f.Level == "ok" })
}

// named checks that check and `crictl info` name a fault.
func (n node) named(t *testing.T, f fault, usual []finding) {
	t.Helper()
	var found []finding
	for _, now := range n.check(t) {
		if !slices.Contains(usual, now) {
			found = append(found, now)
		}
	}
	names := func(found finding) bool {
		return found.Check == f.check && strings.Contains(found.What, f.says) && strings.Contains(found.Do, f.do)
	}
	if !slices.ContainsFunc(found, names) {
		t.Errorf("check says %v, want %s: %s → %s", found, f.check, f.says, f.do)
	}
	if !f.inInfo {
		return
	}
	// The daemon sees changes of the CNI directory after a moment.
	if err := harness.Await(t.Context(), func() error {
		said := n.info(t)["check."+f.check]
		if !strings.Contains(said, f.says) || !strings.Contains(said, f.do) {
			return fmt.Errorf("crictl info says %q of %s, want %q and %q", said, f.check, f.says, f.do)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// info returns the findings in `crictl info`, by check.
func (n node) info(t *testing.T) map[string]string {
	t.Helper()
	out, err := harness.Output(n.Crictl(t.Context(), "info"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	found := map[string]string{}
	for key, value := range all {
		if text, ok := value.(string); ok && strings.HasPrefix(key, "check.") {
			found[key] = text
		}
	}
	return found
}

// awaitUsual waits until check and `crictl info` find what they found before the fault.
func (n node) awaitUsual(t *testing.T, usual []finding, usualInfo map[string]string) {
	t.Helper()
	if err := harness.Await(t.Context(), func() error {
		if now := n.check(t); !slices.Equal(now, usual) {
			return fmt.Errorf("after the mend, check says %v, before the fault %v", now, usual)
		}
		if now := n.info(t); !maps.Equal(now, usualInfo) {
			return fmt.Errorf("after the mend, crictl info says %v, before the fault %v", now, usualInfo)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// userRunsAPod pulls an image and runs a pod with a container from it. It wants an error that
// contains want, or none.
func (n node) userRunsAPod(t *testing.T, want string) {
	t.Helper()
	err := n.pullAndRun(t)
	switch {
	case want == "" && err != nil:
		t.Errorf("a pod of the user: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("the user's error is %v, want %q", err, want)
	}
}

func (n node) pullAndRun(t *testing.T) error {
	t.Helper()
	ctx := t.Context()
	spec := &runtimeapi.ImageSpec{Image: image.Busybox}
	if _, err := n.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: spec}); err != nil {
		return err
	}
	if err := n.Pull(ctx, image.Busybox); err != nil {
		return err
	}
	config := n.PodConfig("first")
	// As the kubelet does: each try is another attempt, and pods that failed are removed.
	config.Metadata.Attempt = uint32(time.Now().UnixMilli())
	answer, err := n.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config, RuntimeHandler: "own"})
	if err != nil {
		return err
	}
	_, err = n.Run(ctx, answer.GetPodSandboxId(), config, harness.ContainerConfig(config, "main", image.Busybox, "true"))
	return err
}

func (n node) removePods(t *testing.T) {
	t.Helper()
	answer, err := n.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range answer.GetItems() {
		if err := n.RemovePod(t.Context(), p.GetId()); err != nil {
			t.Error(err)
		}
	}
}

// remove hides a file or directory.
func remove(path func(node) string) func(*testing.T, node) func() error {
	return func(t *testing.T, n node) func() error {
		t.Helper()
		from := path(n)
		hidden := from + ".hidden"
		if err := os.Rename(from, hidden); err != nil {
			t.Fatal(err)
		}
		return func() error { return os.Rename(hidden, from) }
	}
}

// write replaces the content of a file, or creates it.
func write(path func(node) string, content string) func(*testing.T, node) func() error {
	return func(t *testing.T, n node) func() error {
		t.Helper()
		file := path(n)
		was, err := os.ReadFile(file)
		if missing := err != nil; missing {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			return put(t, file, content, func() error { return os.Remove(file) })
		}
		return put(t, file, content, func() error { return os.WriteFile(file, was, 0o644) })
	}
}

func put(t *testing.T, file, content string, mend func() error) func() error {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return mend
}

// serve sends the pulls of a registry to a server.
func serve(hosts func(node) string, handle http.HandlerFunc) func(*testing.T, node) func() error {
	return func(t *testing.T, n node) func() error {
		t.Helper()
		server := httptest.NewServer(handle)
		mend := write(hosts, fmt.Sprintf("server = %q\n", server.URL))(t, n)
		return func() error {
			server.CloseClientConnections()
			server.Close()
			return mend()
		}
	}
}

func unauthorized(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
	w.WriteHeader(http.StatusUnauthorized)
}

func hang(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-time.After(time.Minute):
	}
}

// chmod makes a program not executable.
func chmod(path func(node) string) func(*testing.T, node) func() error {
	return func(t *testing.T, n node) func() error {
		t.Helper()
		file := path(n)
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
		return func() error { return os.Chmod(file, 0o755) }
	}
}

func notExecutable(t *testing.T, n node) func() error {
	t.Helper()
	restore, err := n.Network.Replace("bridge", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(n.Network.BinDir, "bridge"), 0o644); err != nil {
		t.Fatal(err)
	}
	return restore
}

// takeAll takes all addresses of the network: host-local keeps a file for each.
func takeAll(t *testing.T, n node) func() error {
	t.Helper()
	dir := filepath.Join(n.Network.IPAM, n.Network.Bridge)
	var made []string
	base := strings.TrimSuffix(n.Network.Subnet, ".0/22")
	var third int
	if _, err := fmt.Sscanf(base, "198.18.%d", &third); err != nil {
		t.Fatal(err)
	}
	for i := range 1024 {
		file := filepath.Join(dir, fmt.Sprintf("198.18.%d.%d", third+i/256, i%256))
		if err := os.WriteFile(file, []byte("another\r\neth0"), 0o600); err != nil {
			t.Fatal(err)
		}
		made = append(made, file)
	}
	return func() error {
		for _, file := range made {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
		return nil
	}
}

func fill(t *testing.T, n node) func() error {
	t.Helper()
	free, err := harness.FillDisk(n.Bench)
	if err != nil {
		t.Fatal(err)
	}
	return free
}

// kubelet runs a process that looks like a kubelet with this config.
func kubelet(config string) func(*testing.T, node) func() error {
	return func(t *testing.T, _ node) func() error {
		t.Helper()
		file := filepath.Join(t.TempDir(), "kubelet.yaml")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		return sleepAs(t, "kubelet", "--config="+file)
	}
}

func other(t *testing.T, _ node) func() error {
	t.Helper()
	return sleepAs(t, "crio")
}

// sleepAs runs a process under another name.
func sleepAs(t *testing.T, name string, args ...string) func() error {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(program, []byte("#!/bin/sh\nread line\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(harness.After(t), program, args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() error {
		stdin.Close()
		_ = cmd.Wait() // read returns 1 at the end of the file
		return nil
	}
}
