// SPDX-License-Identifier: Apache-2.0

// Package dist tests the installed files: those of `make install` and of the Debian packages, the
// unit, the man pages and the completions. It installs into temporary directories and changes
// nothing else; integration/suite/service installs on a machine.
package dist

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// installed lists the files that `make install` installs below PREFIX, with their modes.
const installed = `0755 bin/containerd-lite
0755 bin/containerd-shim-lite-v2
0644 lib/systemd/system/containerd-lite.service
0644 share/bash-completion/completions/containerd-lite
0644 share/fish/vendor_completions.d/containerd-lite.fish
0644 share/man/man5/containerd-lite-config.toml.5
0644 share/man/man8/containerd-lite.8
0644 share/man/man8/containerd-shim-lite-v2.8
0644 share/zsh/site-functions/_containerd-lite
`

// checkout returns the checkout. It skips the test if a built file is missing.
func checkout(t *testing.T, need ...string) harness.Repo {
	t.Helper()
	repo, err := harness.FindRepo()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range need {
		if found, _ := filepath.Glob(repo.Bin(name)); len(found) == 0 {
			t.Skipf("this host lacks bin/%s (make deb)", name)
		}
	}
	return repo
}

// command skips the test if a program is missing.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("this host lacks %s in PATH", name)
	}
	return exec.Command(name, args...)
}

// quiet runs a command and checks that it succeeds without output.
func quiet(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if said, err := cmd.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("%s: %v: %s", strings.Join(cmd.Args, " "), err, said)
	}
}

// install runs dist/install.sh with environment variables.
func install(t *testing.T, repo harness.Repo, verb string, env ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(string(repo), "dist", "install.sh"), verb)
	cmd.Env = append(os.Environ(), env...)
	quiet(t, cmd)
}

// files lists the files below a directory with their modes, sorted by path.
func files(t *testing.T, dir string) string {
	t.Helper()
	var list strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		fmt.Fprintf(&list, "%#o %s\n", info.Mode(), strings.TrimPrefix(path, dir+"/"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list.String()
}

// TestInstall checks that an uninstall removes the installed files and nothing else.
func TestInstall(t *testing.T) {
	repo := checkout(t, "containerd-lite", "containerd-shim-lite-v2", "share")
	for _, prefix := range []string{"/usr/local", "/opt/lite"} {
		t.Run(prefix, func(t *testing.T) {
			root := t.TempDir()
			env := []string{"DESTDIR=" + root, "PREFIX=" + prefix}
			other := filepath.Join(root, prefix, "bin", "other")
			if err := os.MkdirAll(filepath.Dir(other), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(other, nil, 0o755); err != nil {
				t.Fatal(err)
			}
			want := strings.Replace(installed, "0644 lib", "0755 bin/other\n0644 lib", 1)
			for range 2 { // the second run is an update
				install(t, repo, "install", env...)
				if diff := cmp.Diff(want, files(t, filepath.Join(root, prefix))); diff != "" {
					t.Errorf("want -, installed +:\n%s", diff)
				}
			}
			checkUnit(t, filepath.Join(root, prefix, "lib/systemd/system/containerd-lite.service"), prefix)
			install(t, repo, "uninstall", env...)
			install(t, repo, "uninstall", env...)
			if got, want := files(t, root), "0755 "+strings.TrimPrefix(prefix, "/")+"/bin/other\n"; got != want {
				t.Errorf("left behind: %s, want %s", got, want)
			}
		})
	}
}

// checkUnit checks that the programs of a unit are below prefix.
func checkUnit(t *testing.T, unit, prefix string) {
	t.Helper()
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"ExecStart=" + prefix + "/bin/containerd-lite\n", "ExecReload=" + prefix + "/bin/containerd-lite config reload\n"} {
		if !strings.Contains(string(text), line) {
			t.Errorf("%s has no line %s:\n%s", unit, line, text)
		}
	}
}

// TestUnit verifies the unit with systemd-analyze.
func TestUnit(t *testing.T) {
	repo := checkout(t, "containerd-lite", "containerd-shim-lite-v2", "share")
	prefix := t.TempDir()
	install(t, repo, "install", "PREFIX="+prefix)
	quiet(t, command(t, "systemd-analyze", "verify", "--man=no", filepath.Join(prefix, "lib/systemd/system/containerd-lite.service")))
}

// TestManPages checks that man has no warnings and that lexgrog finds the name of each page.
func TestManPages(t *testing.T) {
	repo := checkout(t, "share")
	pages, err := filepath.Glob(repo.Bin("share/man/man*/*"))
	if err != nil || len(pages) != 3 {
		t.Fatalf("pages %v, %v", pages, err)
	}
	for _, page := range pages {
		cmd := command(t, "man", "--warnings", "--local-file", page)
		var complaints strings.Builder
		cmd.Env, cmd.Stderr = append(os.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=80"), &complaints
		if err := cmd.Run(); err != nil || complaints.Len() > 0 {
			t.Errorf("%s: %v: %s", page, err, &complaints)
		}
		if name, err := harness.Output(command(t, "lexgrog", page)); err != nil || !strings.Contains(name, " - ") {
			t.Errorf("%s: %s, %v", page, name, err)
		}
	}
}

// TestCompletions lets each installed shell parse its completion, and bash complete a command.
func TestCompletions(t *testing.T) {
	repo := checkout(t, "containerd-lite", "share")
	bash := repo.Bin("share/bash-completion/completions/containerd-lite")
	for name, path := range map[string]string{
		"bash": bash,
		"zsh":  repo.Bin("share/zsh/site-functions/_containerd-lite"),
		"fish": repo.Bin("share/fish/vendor_completions.d/containerd-lite.fish"),
	} {
		t.Run(name, func(t *testing.T) { quiet(t, command(t, name, "-n", path)) })
	}
	const complete = `_get_comp_words_by_ref() { :; }
. "$1"
COMP_WORDS=(containerd-lite config de) COMP_CWORD=2
__containerd-lite_bash_autocomplete
echo "${COMPREPLY[@]}"`
	cmd := command(t, "bash", "-c", complete, "bash", bash)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(repo.Bin("containerd-lite"))+":"+os.Getenv("PATH"))
	if got, err := harness.Output(cmd); err != nil || got != "default" {
		t.Errorf("containerd-lite config de<Tab>: %q, %v, want default", got, err)
	}
}
