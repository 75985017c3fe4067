// SPDX-License-Identifier: Apache-2.0

package network

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

const confTemplate = `{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge", "ipam": {"type": "host-local",
"subnet": "{{.PodCIDR}}",
"ranges": [{{range $i, $r := .PodCIDRRanges}}{{if $i}}, {{end}}[{"subnet": "{{$r}}"}]{{end}}],
"routes": [{{range $i, $r := .Routes}}{{if $i}}, {{end}}{"dst": "{{$r}}"}{{end}}]}}]}`

// withTemplate returns a Network with a template and an empty configuration directory.
func withTemplate(t *testing.T, text string) *Network {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cni.template")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return New(Options{ConfDir: filepath.Join(t.TempDir(), "net.d"), ConfTemplate: file})
}

// files returns the files of a directory: content by name.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found[e.Name()] = string(text)
	}
	return found
}

func TestConfFromTemplate(t *testing.T) {
	n := withTemplate(t, confTemplate)
	// The kubelet repeats the call. The first CIDRs stay in use.
	for _, cidrs := range []string{"fd00::/64, 10.1.0.0/16", "fd00::/64, 10.1.0.0/16", "10.2.0.0/16", ""} {
		if err := n.UsePodCIDRs(t.Context(), cidrs); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"10-containerd-net.conflist": `{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge", "ipam": {"type": "host-local",
"subnet": "fd00::/64",
"ranges": [[{"subnet": "fd00::/64"}], [{"subnet": "10.1.0.0/16"}]],
"routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}}]}`}
	if diff := cmp.Diff(want, files(t, n.settings.Load().opts.ConfDir)); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	n.settings.Load().conf("").load()
	if err := n.settings.Load().conf("").current.Load().err; err != nil {
		t.Errorf("the configuration cannot be used: %v", err)
	}
}

// Existing configuration files are kept, even if they cannot be used.
func TestTemplateLeavesOtherConfsAlone(t *testing.T) {
	for name, text := range map[string]string{
		"10-containerd-net.conflist": "{}",
		"05-cilium.conf":             "not even JSON",
		"zz.json":                    `{"cniVersion": "1.0.0", "name": "x", "type": "bridge"}`,
	} {
		n := withTemplate(t, confTemplate)
		if err := os.MkdirAll(n.settings.Load().opts.ConfDir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(n.settings.Load().opts.ConfDir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := n.UsePodCIDRs(t.Context(), "10.1.0.0/16"); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(map[string]string{name: text}, files(t, n.settings.Load().opts.ConfDir)); diff != "" {
			t.Errorf("directory (-want +got):\n%s", diff)
		}
	}
}

func TestAddFileKeepsExistingFile(t *testing.T) {
	dir := t.TempDir()
	for _, content := range []string{"first", "second"} {
		made, err := addFile(dir, "conf", []byte(content))
		if made != (content == "first") || err != nil {
			t.Errorf("addFile %s: %v, %v", content, made, err)
		}
	}
	if diff := cmp.Diff(map[string]string{"conf": "first"}, files(t, dir)); diff != "" {
		t.Errorf("directory (-want +got):\n%s", diff)
	}
}

func TestBadPodCIDRsAndTemplates(t *testing.T) {
	for name, tc := range map[string]struct {
		template, cidrs string
		class           func(error) bool
	}{
		"not a CIDR":       {confTemplate, "10.1.0.0", errdefs.IsInvalidArgument},
		"empty CIDR":       {confTemplate, "10.1.0.0/16,", errdefs.IsInvalidArgument},
		"JSON in a CIDR":   {confTemplate, "10.1.0.0/16\"}, {\"x\": \"", errdefs.IsInvalidArgument},
		"syntax error":     {"{{.PodCIDR", "10.1.0.0/16", errdefs.IsFailedPrecondition},
		"unknown variable": {"{{.PodCidr}}", "10.1.0.0/16", errdefs.IsFailedPrecondition},
		"no CNI config":    {`{"subnet": "{{.PodCIDR}}"}`, "10.1.0.0/16", errdefs.IsFailedPrecondition},
	} {
		n := withTemplate(t, tc.template)
		err := n.UsePodCIDRs(t.Context(), tc.cidrs)
		if !tc.class(err) {
			t.Errorf("%s: %v", name, err)
		}
		if left := files(t, n.settings.Load().opts.ConfDir); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
	n := New(Options{ConfDir: t.TempDir(), ConfTemplate: "/no/such/template"})
	if err := n.UsePodCIDRs(t.Context(), "10.1.0.0/16"); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "/no/such/template") {
		t.Errorf("missing template: %v", err)
	}
	n = New(Options{ConfDir: t.TempDir()})
	if err := n.UsePodCIDRs(t.Context(), "nonsense"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("invalid CIDR without a template: %v", err)
	}
	if err := n.UsePodCIDRs(t.Context(), "10.1.0.0/16"); err != nil || len(files(t, n.settings.Load().opts.ConfDir)) > 0 {
		t.Errorf("without a template: %v, %v", err, files(t, n.settings.Load().opts.ConfDir))
	}
}
