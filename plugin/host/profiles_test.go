// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

func local(path string) spec.Profile {
	return spec.Profile{Type: runtimeapi.SecurityProfile_Localhost, Ref: path}
}

func TestReadSeccompProfile(t *testing.T) {
	dir := hostPaths(t)
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
		t.Errorf("content of the default profile %q, error %v", data, err)
	}
}

// ReadSeccompProfile refuses other files than small regular ones without reading them: a FIFO would
// wait for a writer, a device may have no end.
func TestReadSeccompProfileInvalid(t *testing.T) {
	dir := hostPaths(t)
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
