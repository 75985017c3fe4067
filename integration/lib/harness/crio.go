// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// crioConfig configures CRI-O as [configTemplate] configures containerd: everything below the
// bench's root, the same OCI runtime and CNI chain (portmap maps the ports, not CRI-O), no NRI. A
// conmon inherits no environment, so that the marker is set; it runs in its pod's cgroup with the
// systemd driver, so that the CPU time of the pod includes it. All other keys have their defaults.
var crioConfig = template.Must(template.New("crio.conf").Parse(`[crio]
root = "{{.Root}}/root"
runroot = "{{.Root}}/state/storage"
storage_driver = "overlay"
log_dir = "{{.Root}}/logs"
version_file = "{{.Root}}/state/version"
clean_shutdown_file = "{{.Root}}/root/clean.shutdown"

[crio.api]
listen = "{{.Daemon.Socket}}"

[crio.runtime]
default_runtime = "{{.Options.Runtime}}"
cgroup_manager = "{{.CgroupDriver}}"
container_exits_dir = "{{.Root}}/state/exits"
container_attach_socket_dir = "{{.Root}}/state/attach"
namespaces_dir = "{{.Root}}/state/ns"
cdi_spec_dirs = ["{{.Root}}/cdi"]
hooks_dir = []
irqbalance_config_restore_file = "disable"
disable_hostport_mapping = true

[crio.runtime.runtimes.{{.Options.Runtime}}]
runtime_root = "{{.Root}}/state/runtime"
monitor_cgroup = "pod"
monitor_env = ["{{.Marker}}"]

[crio.image]
pause_image = "{{.Pause}}"
signature_policy = "{{.Root}}/policy.json"
signature_policy_dir = "{{.Root}}/policies"
big_files_temporary_dir = "{{.Root}}"

[crio.network]
network_dir = "{{.Network.ConfDir}}"
plugin_dirs = ["{{.Network.BinDir}}"]

[crio.nri]
enable_nri = false

`))

// crioPolicy accepts images without a signature.
const crioPolicy = `{"default": [{"type": "insecureAcceptAnything"}]}`

// crio is CRI-O as the daemon of a bench.
type crio struct {
	bench    *Bench
	newCache bool // crioCache did not exist before the bench
}

// crioCache is where CRI-O keeps what it knows about the blobs of registries. No option moves it.
const crioCache = "/var/lib/containers/cache"

func newCrio(b *Bench) crio {
	_, err := os.Stat(crioCache)
	return crio{bench: b, newCache: errors.Is(err, fs.ErrNotExist)}
}

func (c crio) command() []string {
	b := c.bench
	return []string{
		b.repo.Tool("bin", "crio"), "--config", b.Daemon.Config, "--config-dir", "",
		"--registries-conf", b.Path("registries.conf"), "--registries-conf-dir", b.Path("registries.conf.d"),
	}
}

func (c crio) configFiles() map[string]string {
	var text strings.Builder
	data := struct {
		*Bench
		Pause, Marker string
	}{c.bench, image.Pause, marker + "=" + c.bench.Root}
	if err := crioConfig.Execute(&text, data); err != nil {
		panic(err) // the template and its fields are both in this package
	}
	return map[string]string{
		c.bench.Daemon.Config:           text.String() + c.bench.Config,
		c.bench.Path("registries.conf"): c.bench.Registry.registriesConf(),
		c.bench.Path("policy.json"):     crioPolicy,
	}
}

// folders leaves out the links to the sockets of conmon: CRI-O does not remove them.
func (c crio) folders() []string {
	state := c.bench.Path("state")
	return []string{
		filepath.Join(state, "exits"), filepath.Join(state, "ns"), filepath.Join(state, "runtime"),
		filepath.Join(state, "storage", "overlay-containers"),
	}
}

// state returns the pods and containers that CRI-O lists, and the layers of containers.
func (c crio) state(ctx context.Context) (State, error) {
	client, err := c.bench.CRI()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	pods, err := client.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return nil, err
	}
	containers, err := client.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return nil, err
	}
	layers, err := c.layers()
	if err != nil {
		return nil, err
	}
	state := State{"snapshot": layers}
	for _, pod := range pods.Items {
		state["sandbox"] = append(state["sandbox"], pod.Id)
	}
	for _, container := range containers.Containers {
		state["container"] = append(state["container"], container.Id)
	}
	return state, nil
}

// layers returns the IDs of the layers that the storage does not keep over a power failure: those
// of pods and containers.
func (c crio) layers() ([]string, error) {
	text, err := os.ReadFile(c.bench.Path("root", "overlay-layers", "volatile-layers.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var layers []struct{ ID string }
	if err := json.Unmarshal(text, &layers); err != nil {
		return nil, fmt.Errorf("layers of CRI-O: %w", err)
	}
	var ids []string
	for _, layer := range layers {
		ids = append(ids, layer.ID)
	}
	return ids, nil
}

func (c crio) clean() error {
	if !c.newCache {
		return nil
	}
	if err := os.RemoveAll(crioCache); err != nil {
		return err
	}
	err := os.Remove(filepath.Dir(crioCache))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) {
		return nil
	}
	return err
}

func (r Repo) missingForCrio() []string {
	var missing []string
	for _, name := range []string{"bin/crio", "bin/pinns"} {
		if _, err := os.Stat(r.Tool(name)); err != nil {
			missing = append(missing, ".tools/"+name+" (integration/tools.sh peers)")
		}
	}
	if _, err := exec.LookPath("conmon"); err != nil {
		missing = append(missing, "conmon in PATH (integration/tools.sh peers)")
	}
	return missing
}
