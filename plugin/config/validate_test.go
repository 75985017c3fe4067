// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

// TestValidate expects one problem for each wrong line: key, problem, hint.
func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name, table, file string
		want              []string
	}{
		{"default handler missing", RuntimeTable, `containerd.default_runtime_name = "foo"`, []string{
			`plugins.'io.containerd.cri.v1.runtime'.containerd.default_runtime_name: "foo" is not in containerd.runtimes ` +
				`(add [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.foo], or name one of: lite, runc)`}},
		{"default handler empty", RuntimeTable, `containerd.default_runtime_name = ""`, []string{
			`plugins.'io.containerd.cri.v1.runtime'.containerd.default_runtime_name: is empty (name one of: lite, runc)`}},
		{"handler", RuntimeTable, `
			[containerd.runtimes."k.v"]
			runtime_path = "shim"
			privileged_without_host_devices_all_devices_allowed = true
			cgroup_writable = true
			cni_max_conf_num = -1
			io_type = "pipe"
			pod_annotations = ["a/*", "["]
			container_annotations = ["a["]`, []string{
			`plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'k.v'.runtime_type: is empty ` +
				`(name a runtime type, such as io.containerd.lite.v2 or io.containerd.runc.v2)`,
			`plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'k.v'.runtime_path: "shim" is not an absolute path ` +
				`(write the absolute path of the shim binary)`,
			`plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'k.v'.privileged_without_host_devices_all_devices_allowed: ` +
				`is set without privileged_without_host_devices (set both, or neither)`,
			`plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'k.v'.cgroup_writable: needs cgroup v2, but this node ` +
				`has cgroup v1 (remove it, or boot with systemd.unified_cgroup_hierarchy=1)`,
			`plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'k.v'.cni_max_conf_num: -1 is too small (the minimum is 0)`,
			`plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'k.v'.io_type: "pipe" is not known (one of: "", "fifo", "streaming")`,
			`plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'k.v'.pod_annotations: "[" is not a pattern (write it like "example.com/*")`,
			`plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'k.v'.container_annotations: "a[" is not a pattern ` +
				`(write it like "example.com/*")`,
		}},
		{"options", RuntimeTable, `
			containerd.runtimes.lite.options = {SystemCgroup = true, Foo = 1, CriuPath = ""}
			containerd.runtimes.runc.options = {SystemdCgroup = "yes"}`, []string{
			`plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.lite.options.Foo: io.containerd.lite.v2 has no such option ` + known,
			`plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.lite.options.SystemCgroup: io.containerd.lite.v2 has no such option ` + known,
			`plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options.SystemdCgroup: options of io.containerd.runc.v2: toml: ` +
				`cannot decode TOML string into struct field options.Options.SystemdCgroup of type bool ` +
				"(`containerd-lite config default` shows the options of runc's shims)",
		}},
		{"network", RuntimeTable, `
			[cni]
			ip_pref = "v6"
			max_conf_num = -1
			conf_dir = ""
			bin_dirs = []`, []string{
			`plugins.'io.containerd.cri.v1.runtime'.cni.ip_pref: "v6" is not known (one of: "", "ipv4", "ipv6", "cni")`,
			`plugins.'io.containerd.cri.v1.runtime'.cni.max_conf_num: -1 is too small (the minimum is 0)`,
			`plugins.'io.containerd.cri.v1.runtime'.cni.conf_dir: is empty (name the directory of the network configurations, such as "/etc/cni/net.d")`,
			`plugins.'io.containerd.cri.v1.runtime'.cni.bin_dirs: is empty (name the directories of the CNI plugins, such as ["/opt/cni/bin"])`,
		}},
		{"runtime", RuntimeTable, `
			selinux_category_range = -1
			unset_seccomp_profile = "localhost/relative"
			drain_exec_sync_io_timeout = "10"
			stats_collect_period = "-1s"
			stats_retention_period = "x"`, []string{
			`plugins.'io.containerd.cri.v1.runtime'.selinux_category_range: -1 is too small (the minimum is 0)`,
			`plugins.'io.containerd.cri.v1.runtime'.unset_seccomp_profile: "localhost/relative" is not a profile ` +
				`(write "unconfined", "runtime/default" or "localhost//path/to/profile.json")`,
			`plugins.'io.containerd.cri.v1.runtime'.drain_exec_sync_io_timeout: "10" is not a duration (write it like "10s" or "2h30m")`,
			`plugins.'io.containerd.cri.v1.runtime'.stats_collect_period: "-1s" is negative (write it like "10s" or "2h30m")`,
			`plugins.'io.containerd.cri.v1.runtime'.stats_retention_period: "x" is not a duration (write it like "10s" or "2h30m")`,
		}},
		{"sharing", RuntimeTable, `
			containerd.runtimes.lite.options.Sharing = 1.5
			containerd.runtimes.other = {runtime_type = "io.containerd.lite.v2", options = {sharing = 0}}
			containerd.runtimes.runc.options.Sharing = "node"`, []string{
			`plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.lite.options.Sharing: 1.5: want "pod", "node" or a number of pods ` +
				`from 1: invalid argument` + sharingHint,
			`plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.other.options.Sharing: 0: want "pod", "node" or a number of pods ` +
				`from 1: invalid argument` + sharingHint,
			`plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options.Sharing: io.containerd.runc.v2 has no such option ` +
				strings.NewReplacer("FastExec, ", "", "Sharing, ", "").Replace(known),
		}},
		{"images", ImagesTable, `
			snapshotter = ""
			image_pull_progress_timeout = "soon"
			max_concurrent_downloads = -1
			concurrent_layer_fetch_buffer = -1
			stats_collect_period = 0
			image_decryption.key_model = "cloud"
			runtime_platforms.kata.platform = "a/b/c/d"
			[registry]
			config_path = "/etc/containerd/certs.d"
			mirrors."docker.io".endpoint = ["https://mirror"]`, []string{
			`plugins.'io.containerd.cri.v1.images'.snapshotter: is empty (name a snapshotter, such as "overlayfs")`,
			`plugins.'io.containerd.cri.v1.images'.image_pull_progress_timeout: "soon" is not a duration (write it like "10s" or "2h30m")`,
			`plugins.'io.containerd.cri.v1.images'.max_concurrent_downloads: -1 is too small (the minimum is 0)`,
			`plugins.'io.containerd.cri.v1.images'.concurrent_layer_fetch_buffer: -1 is too small (the minimum is 0)`,
			`plugins.'io.containerd.cri.v1.images'.stats_collect_period: 0 is too small (the minimum is 1)`,
			`plugins.'io.containerd.cri.v1.images'.image_decryption.key_model: "cloud" is not known (one of: "", "node")`,
			`plugins.'io.containerd.cri.v1.images'.runtime_platforms.kata.platform: "a/b/c/d": cannot parse platform specifier: ` +
				`invalid argument (write it like "linux/arm64/v8")`,
			`plugins.'io.containerd.cri.v1.images'.registry.mirrors: is set together with config_path (move the mirrors to <config_path>/<host>/hosts.toml)`,
		}},
		{"server", ServerTable, `
			stream_server_port = "http"
			stream_idle_timeout = "4"
			x509_key_pair_streaming.tls_cert_file = "/cert"`, []string{
			`plugins.'io.containerd.grpc.v1.cri'.stream_server_port: "http" is not a port (write a number up to 65535 as a string, or "0" for any free port)`,
			`plugins.'io.containerd.grpc.v1.cri'.stream_idle_timeout: "4" is not a duration (write it like "10s" or "2h30m")`,
			`plugins.'io.containerd.grpc.v1.cri'.x509_key_pair_streaming: has only one of tls_cert_file and tls_key_file ` +
				`(set both, or neither for a self-signed certificate)`,
			`plugins.'io.containerd.grpc.v1.cri'.x509_key_pair_streaming: is set while enable_tls_streaming is false ` +
				`(set enable_tls_streaming = true, or remove the key pair)`,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := validate(t, test.table, test.file)
			var got []string
			for _, p := range Problems(err) {
				got = append(got, p.Error())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("%v is not an invalid argument", err)
			}
		})
	}
}

const sharingHint = ` (write "pod" for a shim per pod, "node" for one shim, or a number of pods per shim)`

const known = "(remove it; known: BinaryName, CriuImagePath, CriuWorkPath, FastExec, IoGid, IoUid, NoNewKeyring, Root, Sharing, ShimCgroup, SystemdCgroup)"

// validate validates the default tables with the lines of file in one of them.
func validate(t *testing.T, table, file string) error {
	t.Helper()
	images, runtime, server := DefaultImages(), DefaultRuntime(), DefaultServer()
	into := map[string]any{ImagesTable: &images, RuntimeTable: &runtime, ServerTable: &server}[table]
	if err := toml.Unmarshal([]byte(file), into); err != nil {
		t.Fatal(err)
	}
	return errors.Join(images.Validate(), runtime.Validate(Host{}), server.Validate())
}

func TestValidateAccepts(t *testing.T) {
	for _, test := range []struct{ table, file string }{
		{RuntimeTable, `unset_seccomp_profile = "localhost//etc/seccomp.json"`},
		{RuntimeTable, `drain_exec_sync_io_timeout = ""`},
		{RuntimeTable, `containerd.runtimes.kata = {runtime_type = "io.containerd.kata.v2", options = {Anything = 1}}`},
		{RuntimeTable, `containerd.runtimes.lite.options.Sharing = "node"`},
		{RuntimeTable, `containerd.runtimes.lite.options.Sharing = 16`},
		{RuntimeTable, `containerd.runtimes.lite.options.FastExec = true`},
		{ServerTable, "enable_tls_streaming = true\nx509_key_pair_streaming = {tls_cert_file = '/c', tls_key_file = '/k'}"},
		{ImagesTable, `image_pull_progress_timeout = "0s"`},
	} {
		if err := validate(t, test.table, test.file); err != nil {
			t.Errorf("%s: %v", test.file, err)
		}
	}
	r := DefaultRuntime()
	h := r.Containerd.Runtimes[LiteHandler]
	h.CgroupWritable = true
	r.Containerd.Runtimes[LiteHandler] = h
	if err := r.Validate(Host{CgroupV2: true}); err != nil {
		t.Errorf("cgroup_writable on cgroup v2: %v", err)
	}
}

func TestDurationOr(t *testing.T) {
	for text, want := range map[Duration]string{"": "1m0s", "0s": "0s", "2s": "2s", "x": "1m0s"} {
		if got := text.Or(60e9).String(); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestConfigDirs(t *testing.T) {
	for path, want := range map[string][]string{
		"":      {"/etc/containerd/certs.d", "/etc/docker/certs.d"},
		"/a:/b": {"/a", "/b"},
	} {
		if diff := cmp.Diff(want, (Registry{ConfigPath: path}).ConfigDirs()); diff != "" {
			t.Errorf("%q: want -, got +:\n%s", path, diff)
		}
	}
}
