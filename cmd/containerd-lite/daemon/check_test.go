// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/log"
	"github.com/google/go-cmp/cmp"
)

// TestCheckConfig expects each error with its file, line and key. DIR is the directory of the
// files.
func TestCheckConfig(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"syntax", map[string]string{"config.toml": "version = 4\n[plugins\n"},
			[]string{"DIR/config.toml:2:9: toml: expected ']' to close table name"}},
		{"type of a key of containerd", map[string]string{"config.toml": "version = 4\n\noom_score = 'x'\n"},
			[]string{"DIR/config.toml:3:13: oom_score: toml: cannot decode TOML string"}},
		{"type of a key of another plugin", map[string]string{"config.toml": "[plugins.'io.containerd.gc.v1.scheduler']\npause_threshold = 'x'\n"},
			[]string{"DIR/config.toml:2: plugins.'io.containerd.gc.v1.scheduler'.pause_threshold: toml: cannot decode TOML string"}},
		{"types of several keys", map[string]string{"config.toml": `version = 4
[plugins.'io.containerd.grpc.v1.cri']
stream_server_port = 0
[plugins.'io.containerd.cri.v1.runtime']
enable_selinux = "yes"
cni.bin_dirs = "/opt/cni/bin"
`}, []string{
			"DIR/config.toml:5: plugins.'io.containerd.cri.v1.runtime'.enable_selinux: toml: cannot decode TOML string",
			"DIR/config.toml:3: plugins.'io.containerd.grpc.v1.cri'.stream_server_port: toml: cannot decode TOML integer",
		}},
		{"an old file", map[string]string{"config.toml": `version = 2
[plugins.'io.containerd.grpc.v1.cri']
sandbox_image = 5
[plugins.'io.containerd.grpc.v1.cri'.cni]
bin_dir = 6
`}, []string{
			"DIR/config.toml:3: plugins.'io.containerd.cri.v1.images'.pinned_images.sandbox: toml: cannot decode TOML integer",
			"DIR/config.toml:5: plugins.'io.containerd.cri.v1.runtime'.cni.bin_dirs: toml: cannot decode TOML integer",
		}},
		{"values", map[string]string{"config.toml": `version = 3
[plugins.'io.containerd.cri.v1.runtime'.containerd]
  default_runtime_name = "kata"
  runtimes.runc = { base_runtime_spec = "/nonexistent",
    options = {
      Shared = true } }
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.other]
  snapshotter = "native"
`}, []string{
			`DIR/config.toml:3: plugins.'io.containerd.cri.v1.runtime'.containerd.default_runtime_name: "kata" is not in containerd.runtimes`,
			"DIR/config.toml:7: plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.other.runtime_type: is empty",
			"DIR/config.toml:6: plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options.Shared: ",
			"DIR/config.toml:4: plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.base_runtime_spec: open /nonexistent: ",
		}},
		{"imports", map[string]string{
			"config.toml":   "version = 3\nimports = ['conf.d/*.toml']\nplugins.'io.containerd.cri.v1.runtime'.cni.ip_pref = 'ipv4'\n",
			"conf.d/1.toml": "version = 3\nimports = ['../config.toml']\n\nplugins.'io.containerd.cri.v1.runtime'.cni.ip_pref = 'ipv5'\n",
			"conf.d/2.toml": "version = 3\nplugins.'io.containerd.grpc.v1.cri'.stream_idle_timeout = '5'\n",
		}, []string{
			"DIR/conf.d/1.toml:4: plugins.'io.containerd.cri.v1.runtime'.cni.ip_pref: ",
			"DIR/conf.d/2.toml:2: plugins.'io.containerd.grpc.v1.cri'.stream_idle_timeout: ",
		}},
		{"import missing", map[string]string{"config.toml": "version = 3\nimports = ['more.toml']\n"},
			[]string{"config file: open DIR/more.toml: no such file"}},
		{"import broken", map[string]string{"config.toml": "version = 3\nimports = ['more.toml']\n", "more.toml": "\n\nx"},
			[]string{"DIR/more.toml:3:1: toml: "}},
		{"newer version", map[string]string{"config.toml": "version = 5\n"}, []string{"DIR/config.toml: "}},
		{"no table", map[string]string{"config.toml": "version = 2\n[plugins]\n'io.containerd.grpc.v1.cri' = 5\n"},
			[]string{"DIR/config.toml: plugins.'io.containerd.grpc.v1.cri': is not a table"}},
		{"CRI disabled", map[string]string{"config.toml": `
disabled_plugins = ["cri"]
plugins.cri.stream_server_port = "http"
`}, nil},
		{"nothing wrong", map[string]string{"config.toml": "version = 4\n"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range test.files {
				write(t, filepath.Join(dir, name), content)
			}
			_, err := checkConfig(context.Background(), filepath.Join(dir, "config.toml"))
			var got []string
			if err != nil {
				got = strings.Split(strings.ReplaceAll(err.Error(), dir, "DIR"), "\n")
			}
			// The text of go-toml and the hint are not compared.
			for i := range min(len(got), len(test.want)) {
				if strings.HasPrefix(got[i], test.want[i]) {
					got[i] = test.want[i]
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

// TestCheckWarnsOnce expects one warning for an unknown key of any plugin.
func TestCheckWarnsOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	write(t, path, `version = 4
plugins.'io.containerd.cri.v1.images'.key_a = 1
plugins.'io.containerd.cri.v1.runtime'.key_b = 1
plugins.'io.containerd.grpc.v1.cri'.key_c = 1
plugins.'io.containerd.gc.v1.scheduler'.key_d = 1
`)
	var lines bytes.Buffer
	logger := log.L.Logger
	defer logger.SetOutput(logger.Out)
	logger.SetOutput(&lines)
	if _, err := checkConfig(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"key_a", "key_b", "key_c", "key_d"} {
		if n := strings.Count(lines.String(), "key="+key+" "); n != 1 {
			t.Errorf("%d warnings of %s, want one:\n%s", n, key, &lines)
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFindLines(t *testing.T) {
	got := findLines([]byte(`version = 4
[a.'b.c']
d.e = {f = 1,
  g = {h = 2}}
[[list]]
x = 1
[[list]]
x = 2
`))
	want := lines{
		"version": 1, "a": 2, "a\x00b.c": 2, "a\x00b.c\x00d": 3, "a\x00b.c\x00d\x00e": 3, "a\x00b.c\x00d\x00e\x00f": 3,
		"a\x00b.c\x00d\x00e\x00g": 4, "a\x00b.c\x00d\x00e\x00g\x00h": 4, "list": 5, "list\x00x": 6,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}
