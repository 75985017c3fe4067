// SPDX-License-Identifier: Apache-2.0

package dist

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// packages are the files of each Debian package, with their modes.
var packages = map[string]string{
	"containerd-lite": `l--------- /usr/bin/containerd -> containerd-lite
-rwxr-xr-x /usr/bin/containerd-lite
-rwxr-xr-x /usr/bin/containerd-shim-runc-v2
-rwxr-xr-x /usr/bin/ctr
-rw-r--r-- /usr/lib/systemd/system/containerd-lite.service
-rw-r--r-- /usr/share/bash-completion/completions/containerd-lite
-rw-r--r-- /usr/share/doc/containerd-lite/changelog.gz
-rw-r--r-- /usr/share/doc/containerd-lite/copyright
-rw-r--r-- /usr/share/fish/vendor_completions.d/containerd-lite.fish
-rw-r--r-- /usr/share/man/man5/containerd-lite-config.toml.5.gz
-rw-r--r-- /usr/share/man/man8/containerd-lite.8.gz
-rw-r--r-- /usr/share/zsh/vendor-completions/_containerd-lite
`,
	"containerd-shim-lite": `-rwxr-xr-x /usr/bin/containerd-shim-lite-v2
-rw-r--r-- /usr/share/doc/containerd-shim-lite/changelog.gz
-rw-r--r-- /usr/share/doc/containerd-shim-lite/copyright
-rw-r--r-- /usr/share/man/man8/containerd-shim-lite-v2.8.gz
`,
}

// deb returns the path of a built package.
func deb(t *testing.T, repo harness.Repo, name string) string {
	t.Helper()
	found, err := filepath.Glob(repo.Bin(name + "_*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages %v, %v, want one", found, err)
	}
	return found[0]
}

func dpkg(t *testing.T, args ...string) string {
	t.Helper()
	out, err := harness.Output(command(t, "dpkg-deb", args...))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDebs checks the files of each package, that root owns them, and that no file is in both
// packages.
func TestDebs(t *testing.T) {
	repo := checkout(t, "*.deb")
	owners := map[string][]string{}
	for name, want := range packages {
		t.Run(name, func(t *testing.T) {
			var got []string
			for line := range strings.Lines(dpkg(t, "--contents", deb(t, repo, name)) + "\n") {
				fields := strings.Fields(line) // mode, owner, size, date, time, path
				if fields[1] != "root/root" {
					t.Errorf("%s is not owned by root", line)
				}
				if path := strings.TrimPrefix(fields[5], "."); !strings.HasSuffix(path, "/") {
					got = append(got, strings.Join(append([]string{fields[0], path}, fields[6:]...), " ")+"\n")
					owners[path] = append(owners[path], name)
				}
			}
			slices.SortFunc(got, func(a, b string) int { return strings.Compare(a[11:], b[11:]) })
			if diff := cmp.Diff(want, strings.Join(got, "")); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
	for path, names := range owners {
		if len(names) > 1 {
			t.Errorf("%s is in %v", path, names)
		}
	}
}

// TestDebFields checks the relations with which the packages replace containerd.
func TestDebFields(t *testing.T) {
	repo := checkout(t, "*.deb")
	daemon, shim := deb(t, repo, "containerd-lite"), deb(t, repo, "containerd-shim-lite")
	version := dpkg(t, "--field", shim, "Version")
	for field, want := range map[string]string{
		"Version":      version,
		"Architecture": dpkg(t, "--field", shim, "Architecture"),
		"Depends":      "containerd-shim-lite (= " + version + "), runc",
		"Conflicts":    "containerd, containerd.io",
		"Replaces":     "containerd, containerd.io",
	} {
		if got := dpkg(t, "--field", daemon, field); got != want {
			t.Errorf("%s: %s, want %s", field, got, want)
		}
	}
	// The version satisfies packages that depend on containerd.
	if got := dpkg(t, "--field", daemon, "Provides"); !strings.HasPrefix(got, "containerd (= 2.") {
		t.Errorf("Provides: %s", got)
	}
	if !strings.HasPrefix(filepath.Base(daemon), "containerd-lite_"+version+"_") {
		t.Errorf("%s has version %s", daemon, version)
	}
}

// TestDebScripts checks that the maintainer scripts exist and parse.
func TestDebScripts(t *testing.T) {
	repo := checkout(t, "*.deb")
	dir := t.TempDir()
	dpkg(t, "--control", deb(t, repo, "containerd-lite"), dir)
	for _, name := range []string{"postinst", "prerm", "postrm"} {
		quiet(t, exec.Command("sh", "-n", filepath.Join(dir, name)))
	}
}
