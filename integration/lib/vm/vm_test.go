// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestMark checks that an image is rebuilt if anything in it changes, and only then.
func TestMark(t *testing.T) {
	of := func(packages []string, unit string) string {
		t.Helper()
		m, err := mark(packages, fstest.MapFS{"etc/unit": {Data: []byte(unit)}})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	first := of([]string{"dbus", "udev"}, "a")
	if of([]string{"dbus", "udev"}, "a") != first {
		t.Error("the mark of the same image changed")
	}
	if of([]string{"dbus"}, "a") == first {
		t.Error("the mark is the same with other packages")
	}
	if of([]string{"dbus", "udev"}, "b") == first {
		t.Error("the mark is the same with other files")
	}
}

func TestFindMirror(t *testing.T) {
	const targets = `trixie main http://example.org/other/
bookworm contrib http://example.org/contrib/
bookworm main http://example.org/debian/
bookworm-security main http://example.org/security/
`
	if mirror, err := findMirror(targets); err != nil || mirror != "http://example.org/debian/" {
		t.Errorf("got %q, %v", mirror, err)
	}
	if _, err := findMirror("trixie main http://example.org/other/\n"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a source of the release: got %v", err)
	}
}

// TestStartScript runs the script, with a directory of the host instead of the guest's.
func TestStartScript(t *testing.T) {
	checkout := t.TempDir()
	c := Command{
		Checkout: checkout,
		Dir:      filepath.Join(checkout, "integration", "suite", "log"),
		Args:     []string{"printf", `%s|%s|%s`, "it's", "$HOME `ls`", ""},
		Env:      []string{"LITE_FOCUS=a 'b'=c", "LITE_EMPTY="},
	}
	script, err := startScript(c)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(script, "cd '/payload/checkout/integration/suite/log' || exit\n") {
		t.Errorf("no cd to the directory:\n%s", script)
	}
	script = strings.ReplaceAll(script, "/payload/checkout/integration/suite/log", checkout)
	script = strings.ReplaceAll(script, "exec ", `echo "$LITE_FOCUS" "$LITE_EMPTY" "$PWD"; exec `)
	out, err := exec.CommandContext(t.Context(), "sh", "-c", script).CombinedOutput()
	if want := "a 'b'=c  " + checkout + "\nit's|$HOME `ls`|"; err != nil || string(out) != want {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
	c.Dir = filepath.Dir(checkout)
	if _, err := startScript(c); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("directory outside the checkout: got %v", err)
	}
}

// TestLinkCheckout checks that the tree has the built programs and the tools, and no other hidden
// directory.
func TestLinkCheckout(t *testing.T) {
	dir := t.TempDir()
	checkout, elsewhere, target := filepath.Join(dir, "checkout"), filepath.Join(dir, "elsewhere"), filepath.Join(dir, "target")
	for _, file := range []string{
		"checkout/go.mod", "checkout/bin/containerd-lite", "checkout/.git/HEAD", "checkout/.tools/cni/bridge",
		"checkout/.tools/vm/root.img", "elsewhere/runc",
	} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(file), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"checkout/.tools/bin": elsewhere, "elsewhere/crictl": "runc"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := linkCheckout(checkout, target); err != nil {
		t.Fatal(err)
	}
	var found []string
	err := filepath.WalkDir(target, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			found = append(found, strings.TrimPrefix(path, target))
		}
		return err
	})
	want := []string{"/.tools/bin/crictl", "/.tools/bin/runc", "/.tools/cni/bridge", "/bin/containerd-lite", "/go.mod"}
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("got %v, %v, want %v", found, err, want)
	}
	if to, err := os.Readlink(filepath.Join(target, ".tools/bin/crictl")); err != nil || to != "runc" {
		t.Errorf("the symbolic link became %q, %v", to, err)
	}
}

// TestArgs checks that a run writes only to its own files, and that either the output or the
// terminal is connected.
func TestArgs(t *testing.T) {
	m := machine{image: "/image", payload: "/run/payload.img", run: "/run", accel: "tcg"}
	suite := strings.Join(m.args(), " ")
	for _, want := range []string{
		"-accel tcg ", "snapshot=on,file=/image/root.img", "cache=unsafe,file=/run/payload.img",
		"file,id=output,path=/dev/fd/1", "file,id=result,path=/run/result", "-serial file:/run/console",
	} {
		if !strings.Contains(suite, want) {
			t.Errorf("missing %q in %s", want, suite)
		}
	}
	m.disk = "/node/root.qcow2"
	if node := strings.Join(m.args(), " "); !strings.Contains(node, "format=qcow2,cache=writeback,file=/node/root.qcow2") || strings.Contains(node, "root.img") {
		t.Errorf("wrong root file system of a node: %s", node)
	}
	m.terminal = true
	shell := strings.Join(m.args(), " ")
	if !strings.HasSuffix(shell, "-serial mon:stdio") || strings.Contains(shell, "output") {
		t.Errorf("the terminal is not connected to the console alone: %s", shell)
	}
}

func TestBootSector(t *testing.T) {
	sector := bootSector()
	if len(sector) != 512 || sector[510] != 0x55 || sector[511] != 0xaa {
		t.Errorf("not a valid boot sector: %x", sector)
	}
}

func TestParseResult(t *testing.T) {
	for text, want := range map[string]int{"exit 0\n": 0, "exit 1\n": 1, "exit 137\n": 137} {
		if code, err := parseResult(text); err != nil || code != want {
			t.Errorf("%q: got %d, %v", text, code, err)
		}
	}
	if _, err := parseResult(""); !errors.Is(err, errNoResult) {
		t.Errorf("empty result: got %v", err)
	}
	for _, text := range []string{"exit", "exit \n", "Killed\n"} {
		if code, err := parseResult(text); err == nil {
			t.Errorf("%q: got %d", text, code)
		}
	}
}
