// SPDX-License-Identifier: Apache-2.0

package fastexec

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/apparmor"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// loadProfile loads an AppArmor profile that forbids to write below /work.
func loadProfile(t *testing.T, name string) {
	t.Helper()
	if !apparmor.HostSupports() {
		t.Skip("needs AppArmor")
	}
	profile := fmt.Sprintf(`profile "%s" flags=(attach_disconnected,mediate_deleted) {
  capability,
  file,
  mount,
  signal,
  ptrace,
  unix,
  network,
  deny /work/** w,
  change_profile -> "%s//hat",
  profile hat { file, signal, }
}
`, name, name)
	parser := func(option string) error {
		cmd := exec.Command("apparmor_parser", option, "--skip-cache")
		cmd.Stdin, cmd.Stderr = strings.NewReader(profile), os.Stderr
		return cmd.Run()
	}
	must(t, parser("--add"))
	t.Cleanup(func() { must(t, parser("--remove")) })
}

// TestAppArmor checks that a process has the AppArmor profile of its container, as with the
// runtime, with any user and with no_new_privs.
func TestAppArmor(t *testing.T) {
	n := newNode(t)
	const profile = "fastexec (test)"
	loadProfile(t, profile)
	for name, change := range map[string]func(*specs.Process){
		"usual":        func(*specs.Process) {},
		"no_new_privs": func(p *specs.Process) { p.NoNewPrivileges = true },
		"user": func(p *specs.Process) {
			p.User = specs.User{UID: 1000, GID: 1000}
			p.Capabilities = &specs.LinuxCapabilities{}
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec := n.spec("apparmor-" + name)
			spec.Process.ApparmorProfile = profile
			change(spec.Process)
			n.compare(t, "apparmor-"+name, spec)
		})
	}
}

// TestAppArmorConfines checks that the profile is in force, also if the process of the exec does
// not name it.
func TestAppArmorConfines(t *testing.T) {
	n := newNode(t)
	const profile = "fastexec-confines"
	loadProfile(t, profile)
	spec := n.spec("confines")
	spec.Process.ApparmorProfile = profile
	b := n.run(t, "confines", spec)
	must(t, b.unfit)
	for _, named := range []string{profile, ""} {
		p := process(spec, "sh", "-c", "cat /proc/self/attr/current; echo x > /work/file")
		p.ApparmorProfile = named
		output, status, err := b.exec(t, fast, p)
		if err != nil || status == 0 || !strings.HasPrefix(output, profile+" (enforce)\n") {
			t.Errorf("profile %q: status %d, %v:\n%s", named, status, err, output)
		}
		if _, err := os.Stat(spec.Root.Path + "/work/file"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("profile %q: the file was written: %v", named, err)
		}
	}
}

// TestOtherAppArmorProfile checks that the runtime decides if the init or the process has another
// profile than the container: the init may have changed its own.
func TestOtherAppArmorProfile(t *testing.T) {
	n := newNode(t)
	const profile = "fastexec-other"
	loadProfile(t, profile)
	spec := n.spec("other")
	spec.Process.ApparmorProfile = profile
	spec.Process.Args = []string{"sh", "-c", "echo changeprofile " + profile + "//hat > /proc/self/attr/current && exec sleep 1000"}
	changed := n.run(t, "other", spec)
	must(t, changed.unfit)
	spec = n.spec("unconfined")
	unconfined := n.run(t, "unconfined", spec)
	must(t, unconfined.unfit)
	for name, b := range map[string]*box{"changed its own": changed, "has none": unconfined} {
		p := process(spec, "true")
		p.ApparmorProfile = profile
		if _, status, err := b.exec(t, fast, p); err == nil {
			t.Errorf("the init %s: started, status %d", name, status)
		}
		if _, status, err := b.exec(t, slow, p); err != nil || status != 0 {
			t.Errorf("the init %s: by the runtime: status %d, %v", name, status, err)
		}
	}
}
