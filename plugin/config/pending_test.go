// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// TestPending sets every key that has no effect, and expects one line for each, without its value.
func TestPending(t *testing.T) {
	images, runtime := DefaultImages(), DefaultRuntime()
	mustDecode(t, &images, `
		snapshotter = "erofs"
		disable_snapshot_annotations = false
		use_local_image_pull = true
		runtime_platforms = {b = {platform = "linux/arm64"}, a = {platform = "linux/arm64"}, c = {snapshotter = "erofs"}}
		[registry]
		mirrors."docker.io".endpoint = ["https://mirror"]
		configs."r.example.com".auth.password = "secret"`)
	mustDecode(t, &runtime, `
		[containerd.runtimes]
		kata = {runtime_type = "io.containerd.kata.v2", sandboxer = "shim", io_type = "streaming", disable_pause_image_pull = true}
		other = {runtime_type = "io.containerd.other.v2", snapshotter = "erofs"}`)
	lines := append(images.Pending(), runtime.Pending()...)
	checkPending(t, lines, []string{
		"images'.snapshotter: ",
		"images'.use_local_image_pull: ",
		"images'.runtime_platforms.a.platform: ",
		"images'.runtime_platforms.b.platform: ",
		"images'.runtime_platforms.c.snapshotter: ",
		"runtime'.containerd.runtimes.kata.sandboxer: ",
		"runtime'.containerd.runtimes.kata.io_type: ",
		"runtime'.containerd.runtimes.kata.disable_pause_image_pull: ",
		"runtime'.containerd.runtimes.other.snapshotter: ",
	})
	if strings.Contains(strings.Join(lines, "\n"), "secret") {
		t.Error("a secret is printed")
	}
}

// TestNotes expects one line with the handlers of each shim. If the default handler does not use
// the lite shim, the line says how to use it.
func TestNotes(t *testing.T) {
	const advice = "runtime_type = "
	for _, test := range []struct{ name, file, want, advice string }{
		{"default", "", "io.containerd.lite.v2: lite (default); io.containerd.runc.v2: runc", ""},
		{"of kubeadm", `default_runtime_name = "runc"`,
			"io.containerd.lite.v2: lite; io.containerd.runc.v2: runc (default); ", "runtimes.runc." + advice},
		{"another handler with runc's shim", `default_runtime_name = "nvidia"
			runtimes.nvidia = {runtime_type = "io.containerd.runc.v2"}`,
			"io.containerd.lite.v2: lite; io.containerd.runc.v2: nvidia (default), runc; ", "runtimes.nvidia." + advice},
		{"a shim of another kind", `default_runtime_name = "kata"
			runtimes.kata = {runtime_type = "io.containerd.kata.v2", runtime_path = "/opt/kata/shim"}`,
			"/opt/kata/shim: kata (default); io.containerd.lite.v2: lite; io.containerd.runc.v2: runc", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			runtime := DefaultRuntime()
			mustDecode(t, &runtime.Containerd, test.file)
			runtime.EnableCRIU = false
			runtime.Complete()
			notes := runtime.Notes()
			if len(notes) != 1 || !strings.HasPrefix(notes[0], "runtime handlers by shim: "+test.want) {
				t.Fatalf("notes %q, want one with %q", notes, test.want)
			}
			if !strings.Contains(notes[0], test.advice) || test.advice == "" && strings.Contains(notes[0], advice) {
				t.Errorf("note %q, want the advice %q", notes[0], test.advice)
			}
		})
	}
	runtime := DefaultRuntime()
	if notes := runtime.Notes(); len(notes) != 2 || !strings.Contains(notes[1], "enable_criu: ") {
		t.Errorf("notes %q, want one of enable_criu", notes)
	}
}

func mustDecode(t *testing.T, into any, file string) {
	t.Helper()
	if err := toml.Unmarshal([]byte(file), into); err != nil {
		t.Fatal(err)
	}
}
