// SPDX-License-Identifier: Apache-2.0

package firsttime

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// TestDump checks that an archive for a bug report has the stacks and the pods, and nothing secret:
// a variable, an argument, an annotation, a credential in config.toml.
func TestDump(t *testing.T) {
	const secret = "tH1s-1s-s3cret"
	b := harness.StartWith(t, harness.Options{Config: `
[plugins."io.containerd.cri.v1.images".registry.configs."reg.test".auth]
  username = "bob"
  password = "` + secret + `"
`})
	c := harness.Session{Bench: b, CRI: b.Client(t, image.Busybox)}
	config := b.PodConfig("dumped")
	config.Annotations = map[string]string{"note": secret}
	pod := c.Pod(t, config)
	container := harness.ContainerConfig(config, "main", image.Busybox, "sh", "-c", "sleep 1000; : "+secret)
	container.Envs = []*runtimeapi.KeyValue{{Key: "PASSWORD", Value: []byte(secret)}}
	if _, err := c.Run(t.Context(), pod, config, container); err != nil {
		t.Fatal(err)
	}
	path := b.Path("dump.tar.gz")
	cmd := b.Daemon.Lite(t.Context(), "debug", "dump", path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("debug dump: %v: %s", err, out)
	}
	unpacked := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "tar", "-xzf", path, "-C", unpacked).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	read := func(name string) string {
		data, err := os.ReadFile(unpacked + "/containerd-lite/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for name, want := range map[string]string{
		"stacks.txt":   "plugin/statusservice.go",
		"records.json": `"bench/dumped"`,
		"status.json":  `"running": 1`,
		"config.json":  `"defaultRuntimeName"`,
		"check.json":   `"check": "config"`,
		"host.txt":     "MemTotal",
		"version.txt":  "containerd",
	} {
		if text := read(name); !strings.Contains(text, want) {
			t.Errorf("%s has no %s:\n%.2000s", name, want, text)
		}
	}
	if out, _ := exec.CommandContext(t.Context(), "grep", "-r", secret, unpacked).Output(); len(out) > 0 {
		t.Errorf("the archive has a secret: %s", out)
	}
	shims, err := os.ReadDir(unpacked + "/containerd-lite/shims")
	if err != nil || len(shims) == 0 {
		t.Errorf("no shims: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Error(err)
	}
}
