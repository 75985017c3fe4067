// SPDX-License-Identifier: Apache-2.0

package nri

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// envPlugins names a directory with the plugins of the NRI repository (plugins/ of
// https://github.com/containerd/nri), which are not published as modules: `go build` in each of
// their directories, and for wasm.wasm `GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared`.
const envPlugins = "LITE_NRI_PLUGINS"

// references are the plugins that connect to the daemon, in the order of their calls, with the name
// of the option for its socket. wasm.wasm is in plugin_path.
var references = []struct{ program, socketOption string }{
	{"device-injector", "-socket-path"},
	{"ulimit-adjuster", "-socket"},
	{"hook-injector", "-socket-path"},
	{"network-device-injector", "-socket"},
	{"template", "-socket"},
	{"logger", "-socket-path"},
}

// requests are the annotations by which a pod requests changes from the plugins.
var requests = map[string]string{
	"devices.nri.io/container.main":            "- path: /dev/nri\n  type: c\n  major: 1\n  minor: 3\n  file_mode: 0640\n",
	"mounts.nri.io/container.main":             "- source: /etc\n  destination: /host-etc\n  type: bind\n  options: [bind, ro]\n",
	"ulimits.nri.containerd.io/container.main": "- type: RLIMIT_NOFILE\n  soft: 1024\n  hard: 4096\n",
	"io-priority.noderesource.dev":             "class: IOPRIO_CLASS_BE\npriority: 4\n",
	"scheduling-policy.noderesource.dev":       "policy: SCHED_BATCH\nnice: 5\n",
	"sysctl.noderesource.dev":                  "net.ipv4.ping_group_range: 0 100\n",
	"netdevices.nri.containerd.io":             "- name: " + netDevice + "\n  new_name: nri0\n",
}

// netDevice is moved into the pod by network-device-injector.
const netDevice = "lite-nri0"

// hookDir is one of two directories in which hook-injector finds hooks.
const hookDir = "/etc/containers/oci/hooks.d"

const hookFile = `{"version": "1.0.0", "hook": {"path": "/bin/true", "args": ["true", "nri"]},
	"when": {"always": true}, "stages": ["createRuntime", "poststop"]}`

// seen are the effects of the plugins on a node.
type seen struct {
	Spec   []string // changes of the spec
	Links  string   // network devices in the container
	Files  string   // the limit of open files, and the files that are injected
	Events []string // of the logger
	Wasm   []string // calls of the WASM plugin
}

// TestReferencePlugins runs the plugins of the NRI repository with both daemons and compares their
// effects, and what they see.
func TestReferencePlugins(t *testing.T) {
	dir := os.Getenv(envPlugins)
	if dir == "" {
		t.Skipf("needs the plugins of the NRI repository, in a directory that %s names", envPlugins)
	}
	if err := os.MkdirAll(hookDir, 0o755); err != nil {
		t.Fatal(err)
	}
	hook := filepath.Join(hookDir, "lite-test.json")
	if err := os.WriteFile(hook, []byte(hookFile), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(hook) })
	all := map[string]seen{}
	for _, daemon := range []string{harness.Stock, harness.Lite} {
		t.Run(daemon, func(t *testing.T) { all[daemon] = runReferences(t, daemon, dir) })
	}
	if diff := cmp.Diff(all[harness.Stock], all[harness.Lite]); diff != "" {
		t.Errorf("effects (-stock +lite):\n%s", diff)
	}
}

func runReferences(t *testing.T, daemon, dir string) (s seen) {
	b := harness.StartWith(t, harness.Options{Daemon: daemon, NRI: harness.NRI{Enabled: true, Plugin: filepath.Join(dir, "wasm.wasm")}})
	n := node{b, b.Client(t, image.Busybox)}
	makeLink(t)
	config := n.PodConfig("references")
	pod, err := n.client.RunPod(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	plain := n.specOf(t, pod, config, "main")
	n.startMain(t, pod)
	if err := n.client.RemovePod(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	for i, r := range references {
		n.startReference(t, filepath.Join(dir, r.program), fmt.Sprint(20+i), r.socketOption)
	}
	config.Annotations = requests
	if pod, err = n.client.RunPod(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	s.Spec = changed(anonymous(plain), anonymous(n.specOf(t, pod, config, "main")))
	n.askMain(t, n.startMain(t, pod), &s)
	if err := n.client.RemovePod(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/sys/class/net/" + netDevice); err != nil {
		t.Errorf("the device did not come back from the pod: %v", err)
	}
	s.Events = logged(t, n.Path("logger.log"), loggerLine)
	s.Wasm = logged(t, n.Path("daemon.log"), wasmLine)
	return s
}

// startMain starts the container that specOf has created in a pod.
func (n node) startMain(t *testing.T, pod string) (id string) {
	t.Helper()
	list, err := n.client.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{PodSandboxId: pod}})
	if err != nil || len(list.Containers) != 1 {
		t.Fatalf("%d containers, %v", len(list.GetContainers()), err)
	}
	id = list.Containers[0].Id
	if _, err := n.client.StartContainer(t.Context(), &runtimeapi.StartContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	return id
}

// askMain asks a process in a container for what the plugins have changed.
func (n node) askMain(t *testing.T, id string, s *seen) {
	t.Helper()
	for command, answer := range map[string]*string{"ls /sys/class/net": &s.Links, "ulimit -n; ulimit -Hn; ls -l /dev/nri; ls -d /host-etc": &s.Files} {
		result, err := n.client.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"sh", "-c", command}})
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		*answer = regexp.MustCompile(`\w+ +\d+ \d\d:\d\d`).ReplaceAllString(string(result.Stdout)+string(result.Stderr), "DATE")
	}
}

// anonymous replaces the IDs and PIDs of pods in the lines of a spec.
func anonymous(lines []string) []string {
	id := regexp.MustCompile(`[0-9a-f]{64}|/proc/\d+`)
	var replaced []string
	for _, line := range lines {
		replaced = append(replaced, id.ReplaceAllString(line, "POD"))
	}
	return replaced
}

// makeLink makes a network device for the test.
func makeLink(t *testing.T) {
	t.Helper()
	const peer = netDevice + "p"
	if out, err := exec.Command("ip", "link", "add", netDevice, "type", "veth", "peer", "name", peer).CombinedOutput(); err != nil {
		t.Fatalf("ip link add: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", peer).Run() })
}

// startReference starts a plugin and waits until it is synchronized.
func (n node) startReference(t *testing.T, program, index, socketOption string) {
	t.Helper()
	name := filepath.Base(program)
	p := harness.NewProcess(n.Bench, name)
	if err := p.Run(program, "-idx", index, socketOption, n.Path("nri.sock")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	err := harness.Await(t.Context(), func() error {
		text, err := os.ReadFile(n.Path("daemon.log"))
		if err == nil && !strings.Contains(string(text), index+"-"+name+`\" connected and synchronized`) {
			err = fmt.Errorf("plugin %s is not synchronized:\n%s", name, p.LogTail(10))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

var (
	// loggerLine matches an event of the logger and the name of an object that it has.
	loggerLine = regexp.MustCompile(`msg="(\w+: \w+:)`)
	// wasmLine matches a call of the WASM plugin.
	wasmLine = regexp.MustCompile(`(WASM: [^"]+)`)
)

// logged returns what matches in the lines of a log. Lines that repeat the one before are left out.
func logged(t *testing.T, path string, line *regexp.Regexp) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, m := range line.FindAllStringSubmatch(string(text), -1) {
		lines = append(lines, m[1])
	}
	return slices.Compact(lines)
}
