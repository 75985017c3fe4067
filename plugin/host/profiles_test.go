// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/selinux/go-selinux"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

func local(path string) spec.Profile {
	return spec.Profile{Type: runtimeapi.SecurityProfile_Localhost, Ref: path}
}

func TestReadSeccompProfile(t *testing.T) {
	dir := scene(t)
	profile := filepath.Join(dir, "real/p.json")
	must(t, os.WriteFile(profile, []byte("{}"), 0o600))
	for _, path := range []string{profile, filepath.Join(dir, "link/p.json")} {
		data, err := ReadSeccompProfile(local(path))
		must(t, err)
		if string(data) != "{}" {
			t.Errorf("%s has %q", path, data)
		}
	}
	if data, err := ReadSeccompProfile(spec.Profile{Type: runtimeapi.SecurityProfile_RuntimeDefault}); data != nil || err != nil {
		t.Errorf("the default profile has content %q, error %v", data, err)
	}
}

// What is not a small regular file is refused at once: a FIFO would wait for a writer, a device may have no end.
func TestReadSeccompProfileInvalid(t *testing.T) {
	dir := scene(t)
	at := func(p string) string { return filepath.Join(dir, p) }
	huge, err := os.Create(at("huge"))
	must(t, err, huge.Truncate(maxProfile+1), huge.Close(), unix.Mkfifo(at("fifo"), 0o600))
	for path, class := range map[string]func(error) bool{
		at("huge"):    errdefs.IsInvalidArgument,
		at("fifo"):    errdefs.IsInvalidArgument,
		at("real"):    errdefs.IsInvalidArgument,
		"/dev/zero":   errdefs.IsInvalidArgument,
		"p.json":      errdefs.IsInvalidArgument,
		at("missing"): errdefs.IsNotFound,
	} {
		if data, err := ReadSeccompProfile(local(path)); !class(err) {
			t.Errorf("%s: %d bytes, error %v", path, len(data), err)
		}
	}
}

func TestFindProfile(t *testing.T) {
	loaded := "cri-containerd.apparmor.d (enforce)\nmine (complain)\n"
	must(t, findProfile(strings.NewReader(loaded), "mine"))
	for _, name := range []string{"min", "other", "enforce", ""} {
		if err := findProfile(strings.NewReader(loaded), name); !errdefs.IsNotFound(err) {
			t.Errorf("%q: error %v, want class NotFound", name, err)
		}
	}
	if err := LoadAppArmor(spec.Profile{Type: runtimeapi.SecurityProfile_Unconfined}); err != nil {
		t.Errorf("unconfined: %v", err)
	}
}

func TestLabelOptions(t *testing.T) {
	list, err := labelOptions(&runtimeapi.SELinuxOption{User: "u", Role: "r", Type: "t", Level: "s0:c1,c2"})
	must(t, err)
	if got := strings.Join(list, " "); got != "user:u role:r type:t level:s0:c1,c2" {
		t.Errorf("options %q", got)
	}
	for _, level := range []string{"s0", "s0-s1", "s0:c0.c1023", "s0:c1,c2.c5"} {
		if _, err := labelOptions(&runtimeapi.SELinuxOption{Level: level}); err != nil {
			t.Errorf("level %s: %v", level, err)
		}
	}
	for _, level := range []string{"x", "s0:", "s0:c12345", "s0\n", "s0:c1,"} {
		if _, err := NewLabels(&runtimeapi.SELinuxOption{Level: level}, ""); !errdefs.IsInvalidArgument(err) {
			t.Errorf("level %q: error %v, want class InvalidArgument", level, err)
		}
	}
}

func TestLabelsWithoutSELinux(t *testing.T) {
	if selinux.GetEnabled() {
		t.Skip("SELinux is on")
	}
	l, err := NewLabels(&runtimeapi.SELinuxOption{Type: "t"}, "")
	must(t, err)
	if l != (spec.Labels{}) {
		t.Errorf("labels %+v", l)
	}
	ReleaseLabels(l)
	must(t, Relabel(t.TempDir(), ""))
}
