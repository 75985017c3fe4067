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
`)
	app := Command()
	var out bytes.Buffer
	app.Writer = &out
	if err := app.Run(t.Context(), []string{"containerd-lite", "--config", path, "config", "check"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"warning: plugins.'io.containerd.cri.v1.images'.use_local_image_pull: ",
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
