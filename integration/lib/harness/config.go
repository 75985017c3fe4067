// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// Handlers for single suites.
const (
	// HandlerTuned passes the annotations bench.pod/* and bench.container/* to the runtime, and
	// gives privileged containers no host devices.
	HandlerTuned = "tuned"
	// HandlerWritable lets containers create cgroups of their own. It exists only on cgroup v2.
	HandlerWritable = "writable"
	// HandlerNoRuntime names an OCI runtime that is not installed.
	HandlerNoRuntime = "no-runtime"
	// HandlerNoShim names a shim that is not installed.
	HandlerNoShim = "no-shim"
)

// configTemplate is a file that a user of kubeadm would write, with every path under the bench's
// root. Both daemons read the same file: containerd-lite promises to accept the file of stock
// containerd.
var configTemplate = template.Must(template.New("config.toml").Parse(`version = 3
root = "{{.Root}}/root"
state = "{{.Root}}/state"
imports = []

[grpc]
  address = "{{.Root}}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "{{.Root}}/opt"

[plugins."io.containerd.shim.v1.manager"]
  socket_dir = "{{.Root}}/s"

[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = "{{.VerifierDir}}"

[plugins."io.containerd.nri.v1.nri"]
  disable = {{not .Options.NRI.Enabled}}
  socket_path = "{{.Root}}/nri.sock"
  plugin_path = "{{.Root}}/nri"
  plugin_config_path = "{{.Root}}/nri/conf.d"
  # critest holds a plugin for as long as the default, 2 s.
  plugin_request_timeout = "10s"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{{.Pause}}"

[plugins."io.containerd.cri.v1.images".registry]
  config_path = "{{.Root}}/certs.d"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_hugetlb_controller = false
  cdi_spec_dirs = ["{{.Root}}/cdi"]

[plugins."io.containerd.cri.v1.runtime".lite]
{{- if .Options.RefuseMissingHostPath}}
  missing_host_path = "error"
{{- end}}
  inspect_env_values = {{.Options.InspectEnvValues}}

[plugins."io.containerd.cri.v1.runtime".cni]
  {{.CNIBinDirs}}
  conf_dir = "{{.Network.ConfDir}}"

[plugins."io.containerd.cri.v1.runtime".containerd]
  default_runtime_name = "{{.Handler}}"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.lite]
  runtime_type = "io.containerd.lite.v2"
{{.HandlerOptions "lite"}}
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
{{.HandlerOptions "runc"}}
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.tuned]
  runtime_type = "{{.ShimType}}"
  pod_annotations = ["bench.pod/*"]
  container_annotations = ["bench.container/*"]
  privileged_without_host_devices = true
{{.HandlerOptions "tuned"}}
{{if .CgroupV2}}[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.writable]
  runtime_type = "{{.ShimType}}"
  cgroup_writable = true
{{.HandlerOptions "writable"}}
{{end}}[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.no-shim]
  runtime_type = "io.containerd.absent.v2"
{{.HandlerOptions "no-shim"}}
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.no-runtime]
  runtime_type = "{{.ShimType}}"
{{.HandlerOptions "no-runtime"}}`))

// template17 is the file of a node with containerd 1.7, which knows version 2 of the format.
var template17 = template.Must(template.New("config.toml").Parse(`version = 2
root = "{{.Root}}/root"
state = "{{.Root}}/state"

[grpc]
  address = "{{.Root}}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "{{.Root}}/opt"

[plugins."io.containerd.nri.v1.nri"]
  disable = true

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{{.Pause}}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{{.Root}}/certs.d"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{{.Network.BinDir}}"
  conf_dir = "{{.Network.ConfDir}}"

[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "{{.Handler}}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.lite]
  runtime_type = "io.containerd.lite.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
`))

// HandlerOptions returns the TOML table of a handler's options, or "" if all are the defaults:
// containerd's own CRI refuses user namespaces for a shim that it does not know if the shim has any
// options.
func (o Options) HandlerOptions(handler string) string {
	options := ""
	if o.Measure.runtimeRoot != "" {
		options += "  Root = " + strconv.Quote(o.Measure.runtimeRoot) + "\n"
	}
	if o.CgroupDriver == Systemd {
		options += "  SystemdCgroup = true\n"
	}
	if o.Sharing != "" && handler == HandlerLite {
		options += "  Sharing = " + o.Sharing + "\n"
	}
	if o.FastExec && handler == HandlerLite {
		options += "  FastExec = true\n"
	}
	if handler == HandlerNoRuntime {
		options += "  BinaryName = " + strconv.Quote("/absent/runc") + "\n"
	} else if o.Runtime != "runc" {
		options += "  BinaryName = " + strconv.Quote(o.Runtime) + "\n"
	}
	if options == "" {
		return ""
	}
	return "\n[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes." + handler + ".options]\n" + options
}

// isOld reports whether the daemon is a stock containerd of an earlier version, in a directory with
// the name of the version.
func (o Options) isOld(prefix string) bool {
	return o.Daemon == Stock && strings.HasPrefix(filepath.Base(o.Bin), prefix)
}

// cniBinDirs returns the key with the directory of the CNI plugins. It has another name since
// containerd 2.1.
func cniBinDirs(o Options, dir string) string {
	if o.isOld("v2.0.") {
		return "bin_dir = " + strconv.Quote(dir)
	}
	return "bin_dirs = [" + strconv.Quote(dir) + "]"
}

// VerifierDir returns the directory where containerd looks for image verifiers. It does not exist
// unless a test creates it.
func (b *Bench) VerifierDir() string { return b.Path("verifiers") }

func (b *Bench) configTOML() string {
	var text strings.Builder
	data := struct {
		*Bench
		Pause      string
		ShimType   string
		CgroupV2   bool
		CNIBinDirs string
	}{b, image.Pause, "io.containerd." + b.Handler + ".v2", unified(), cniBinDirs(b.Options, b.Network.BinDir)}
	file := configTemplate
	if b.isOld("v1.") {
		file = template17
	}
	if err := file.Execute(&text, data); err != nil {
		panic(err) // the template and its fields are both in this package
	}
	return text.String() + "\n" + b.Config
}
