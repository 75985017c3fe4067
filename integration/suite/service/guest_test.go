// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/vm"
)

// parts are the tests that the host runs in a guest, one per boot.
var parts = map[string]func(*testing.T, machine){
	"install":       installNode,
	"before reboot": beforeReboot,
	"after reboot":  afterReboot,
	"churn":         churn,
	"recover":       func(t *testing.T, _ machine) { recoverNode(t, connect(t)) },
}

// TestPart is the part of TestReboot and TestPowerCut that runs in the guest.
func TestPart(t *testing.T) {
	part, found := parts[os.Getenv("LITE_PART")]
	if !found {
		t.Skip("LITE_PART is not set: TestReboot and TestPowerCut run this in a guest (make power)")
	}
	t.Cleanup(func() {
		if t.Failed() {
			logFailure(t)
		}
	})
	part(t, newMachine(t))
}

// logFailure logs information that is lost with the guest: the daemon's warnings since boot, and
// the running processes.
func logFailure(t *testing.T) {
	for line := range strings.Lines(run(t, "journalctl", "--boot", "--unit="+unit, "--output=short-precise")) {
		if !strings.Contains(line, "level=info") {
			t.Log(strings.TrimSpace(line))
		}
	}
	t.Log(run(t, "systemd-cgls", "--full", "--no-pager"))
}

// guest is a node in a virtual machine with our packages installed, seen from the host.
type guest struct {
	node vm.Node
	repo harness.Repo
}

func newGuest(t *testing.T) guest {
	t.Helper()
	if os.Getenv("LITE_BOOT") != "1" {
		t.Skip("LITE_BOOT=1 is not set; make power boots virtual machines")
	}
	repo, err := harness.FindRepo()
	if err != nil {
		t.Fatal(err)
	}
	node, err := vm.Image(repo.Tool("vm")).NewNode(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g := guest{node, repo}
	g.run(t, "install")
	return g
}

// run boots the guest for a part, which must pass, and shuts it down.
func (g guest) run(t *testing.T, part string) {
	t.Helper()
	var said bytes.Buffer
	code, err := g.node.Run(t.Context(), g.command(t, part), &said)
	if err != nil || code != 0 {
		t.Fatalf("%s: exit code %d, %v\n%s", part, code, err, &said)
	}
	t.Logf("%s:\n%s", part, &said)
}

func (g guest) command(t *testing.T, part string) vm.Command {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return vm.Command{
		Checkout: string(g.repo),
		Dir:      dir,
		Args:     []string{program, "-test.run", "^TestPart$", "-test.v", "-test.timeout", "20m"},
		Env:      []string{"LITE_VM=1", "LITE_PART=" + part},
	}
}

// nodeConfig is the config of a node with the systemd cgroup driver and Debian's CNI plugins.
const nodeConfig = `version = 3

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['/usr/lib/cni']

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.lite]
  runtime_type = 'io.containerd.lite.v2'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.lite.options]
  SystemdCgroup = true
`

// bareFile has the state of the node after its first pod was run and removed.
const bareFile = "/var/lib/bare-node.json"

// installNode installs our packages on a bare Debian. It runs one pod, because the first pod of a
// node creates resources that stay.
func installNode(t *testing.T, m machine) {
	m.prepare(t)
	write(t, config, nodeConfig)
	install(t, m.repo.Tool("packages", "runc_*.deb"), m.repo.Tool("packages", "containernetworking-plugins_*.deb"))
	m.installOurs(t)
	n := connect(t)
	n.pullBusybox(t)
	if err := n.life(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(nodeState(t))
	if err != nil {
		t.Fatal(err)
	}
	write(t, bareFile, string(text))
}

func nodeState(t *testing.T) harness.State {
	t.Helper()
	state, err := harness.NodeState(containerdClient(t))(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func containerdClient(t *testing.T) *containerd.Client {
	t.Helper()
	client, err := containerd.New(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// awaitBare waits until a node without pods has the state of bareFile.
func awaitBare(t *testing.T) error {
	t.Helper()
	var bare harness.State
	if err := json.Unmarshal([]byte(read(t, bareFile)), &bare); err != nil {
		t.Fatal(err)
	}
	return bare.Await(t.Context(), harness.NodeState(containerdClient(t)))
}
