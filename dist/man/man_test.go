// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// generate writes all files into a directory and returns it.
func generate(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir("../..")
	if err := write(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPages checks that each page has its generated parts, and no item without a meaning.
func TestPages(t *testing.T) {
	dir := generate(t)
	for name, want := range map[string][]string{
		"man8/containerd-lite.8":             {`\fB--config\fP`, `\fBconfig check\fP`, `\fBpublish\fP \fB--topic\fP`},
		"man8/containerd-shim-lite-v2.8":     {`\fB-namespace\fP`, `\fB-info\fP`},
		"man5/containerd-lite-config.toml.5": {".SS cni\n", `\fBbin_dirs\fP = [\&'/opt/cni/bin']`, ".SS registry.configs.NAME.auth\n", "username and password are the login."},
	} {
		page := read(t, filepath.Join(dir, "man", name))
		for _, text := range append(want, ".SH NAME\n", ".SH SEE ALSO\n") {
			if !strings.Contains(page, text) {
				t.Errorf("%s does not have %s", name, text)
			}
		}
		if without := regexp.MustCompile(`\.TP\n.*\n\n`).FindString(page); without != "" {
			t.Errorf("%s: no meaning of %s", name, without)
		}
	}
}

// TestKeys checks that the page has every key that `containerd-lite config default` prints.
func TestKeys(t *testing.T) {
	page := read(t, filepath.Join(generate(t), "man/man5/containerd-lite-config.toml.5"))
	for _, table := range []any{config.DefaultImages(), config.DefaultRuntime(), config.DefaultServer()} {
		data, err := toml.Marshal(table)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			key, _, ok := strings.Cut(strings.TrimSpace(string(line)), " = ")
			// Names of images and options are not keys of the CRI.
			if ok && key != "sandbox" && key[0] >= 'a' && !strings.Contains(page, key+`\fP = `) {
				t.Errorf("the page does not have %s", key)
			}
		}
	}
}
