// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// TestWarnings expects one warning for a node that uses a missing feature of the CRI, and none
// otherwise.
func TestWarnings(t *testing.T) {
	for _, test := range []struct{ name, file, want string }{
		{"NRI", "plugins.'io.containerd.nri.v1.nri'.plugin_path = '/elsewhere'\n", ""},
		{"without a CRI", "disabled_plugins = ['io.containerd.grpc.v1.cri']\nmetrics.address = '127.0.0.1:1338'\n", ""},
		{"metrics of an old file", "version = 2\nmetrics.address = '127.0.0.1:1338'\n", "containerd_cri_* are not exported at 127.0.0.1:1338 yet"},
		{"metrics", "plugins.'io.containerd.server.v1.metrics'.address = '127.0.0.1:1338'\n", "containerd_cri_* are not exported at 127.0.0.1:1338 yet"},
		{"metrics are off", "plugins.'io.containerd.server.v1.metrics'.address = ''\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := test.file
			if !strings.Contains(file, "version") {
				file = "version = 4\n" + file
			}
			lines := warnings(readConfig(t, file).Config)
			if len(lines) > 1 || (len(lines) > 0) != (test.want != "") || len(lines) > 0 && !strings.Contains(lines[0], test.want) {
				t.Errorf("%q, want one line with %q", lines, test.want)
			}
		})
	}
}

// TestDefaultsWarnOfNothing expects no warning without a file, or with the output of `config
// default`.
func TestDefaultsWarnOfNothing(t *testing.T) {
	cmd := exec.Command(os.Args[0], "config", "default")
	cmd.Env = append(os.Environ(), asDaemon+"=1")
	file, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	printed := readConfig(t, string(file))
	if printed.Plugins[config.NRITable] == nil {
		t.Error("the file has no table of NRI")
	}
	for name, c := range map[string]*checked{"no file": noFile(), "the file of the defaults": printed} {
		var out bytes.Buffer
		c.print(&out)
		if strings.Contains(out.String(), "warning") || !strings.Contains(out.String(), "note: runtime handlers by shim: ") {
			t.Errorf("%s:\n%s", name, &out)
		}
	}
}

// TestCheckPrints checks that `config check` lists the keys without effect and the shims.
func TestCheckPrints(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	write(t, path, `version = 3
[plugins.'io.containerd.cri.v1.images']
use_local_image_pull = true
[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = 'runc'
[plugins.'io.containerd.server.v1.metrics']
address = '127.0.0.1:1338'
`)
	app := Command()
	var out bytes.Buffer
	app.Writer = &out
	if err := app.Run(t.Context(), []string{"containerd-lite", "--config", path, "config", "check"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"warning: plugins.'io.containerd.cri.v1.images'.use_local_image_pull: ",
		"warning: the metrics containerd_cri_* ",
		"runc (default)",
		`set plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.runtime_type = "io.containerd.lite.v2"`,
	} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("want one line with %q:\n%s", want, &out)
		}
	}
}

func readConfig(t *testing.T, file string) *checked {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	write(t, path, file)
	c, err := checkConfig(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
