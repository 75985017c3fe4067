// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// TestPending sets every key that is not acted on yet and wants one line for each, without its value.
func TestPending(t *testing.T) {
	images, runtime := DefaultImages(), DefaultRuntime()
	mustDecode(t, &images, `
		disable_snapshot_annotations = false
		use_local_image_pull = true
		runtime_platforms = {b = {platform = "linux/arm64"}, a = {platform = "linux/arm64"}, c = {snapshotter = "native"}}
		[registry]
		mirrors."docker.io".endpoint = ["https://mirror"]
		configs."r.example.com".auth.password = "secret"`)
	mustDecode(t, &runtime, `
		[containerd]
		runtimes.kata = {runtime_type = "io.containerd.kata.v2", sandboxer = "shim", io_type = "streaming"}`)
	lines := append(images.Pending(), runtime.Pending()...)
	checkPending(t, lines, []string{
		"images'.use_local_image_pull ",
		"images'.runtime_platforms.a.platform ",
		"images'.runtime_platforms.b.platform ",
		"images'.registry.mirrors ",
		"images'.disable_snapshot_annotations ",
		"runtime'.containerd.runtimes.kata.sandboxer ",
		"runtime'.containerd.runtimes.kata.io_type ",
	})
	if strings.Contains(strings.Join(lines, "\n"), "secret") {
		t.Error("a secret is printed")
	}
}

func mustDecode(t *testing.T, into any, file string) {
	t.Helper()
	if err := toml.Unmarshal([]byte(file), into); err != nil {
		t.Fatal(err)
	}
}
