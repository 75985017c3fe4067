// SPDX-License-Identifier: Apache-2.0

// Package dropin compares the answers of containerd-lite with those of containerd's built-in CRI,
// field by field: the messages of the CRI, and every key of the verbose documents that crictl
// prints. Both daemons run on one root with one config.toml, one after the other. Each creates the
// same pods and containers; both list the images that either of them created.
//
// The known differences are a table with reasons: known_test.go. The test fails for an unlisted
// difference, and for a listed one that no longer exists. Package integration/suite/spec compares
// the contents of the OCI specs.
package dropin

import (
	"maps"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// bench is a bench that switches between daemons.
type bench struct{ harness.Session }

func TestDropIn(t *testing.T) {
	options := harness.FromEnv()
	options.Daemon, options.InspectEnvValues = harness.Lite, true
	b := bench{harness.OpenWith(t, options)}

	found := map[string]leaves{}
	b.swap(t, harness.Stock)
	b.pullImages(t)
	found[harness.Stock] = b.look(t)
	stocksImages := b.images(t)

	b.swap(t, harness.Lite)
	check(t, "images of the built-in CRI", stocksImages, b.images(t), knownImages())
	found[harness.Lite] = b.look(t)
	b.removeImages(t)
	b.pullImages(t)
	check(t, "images of each daemon", stocksImages, b.images(t), knownImages())

	b.swap(t, harness.Stock)
	check(t, "images of containerd-lite", stocksImages, b.images(t), nil)
	b.swap(t, harness.Lite)

	check(t, "answers", found[harness.Stock], found[harness.Lite], known())
	t.Logf("%d values compared", len(found[harness.Stock])+len(stocksImages))
}

// swap starts another daemon on the same root.
func (b bench) swap(t *testing.T, daemon string) {
	t.Helper()
	b.Options.Daemon = daemon
	if err := b.Daemon.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// look creates pods and containers with the present daemon and returns its answers about them and
// about itself, also after a restart.
func (b bench) look(t *testing.T) leaves {
	t.Helper()
	found := leaves{}
	b.node(t, found)
	s := b.stage(t)
	s.add(t, found, "")
	b.RemoveImage(t.Context(), &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: gone}})
	s.add(t, found, "image removed: ")
	if err := b.Daemon.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.add(t, found, "restarted: ")
	s.stop(t)
	s.add(t, found, "stopped: ")
	s.remove(t)
	b.pull(t, gone)
	return found
}

// node adds the daemon's answers about itself.
func (b bench) node(t *testing.T, found leaves) {
	t.Helper()
	n := b.normaliser(nil)
	status := answer(t, b.Status, &runtimeapi.StatusRequest{Verbose: true})
	found.message("status", status.Status, n)
	found.message("features", status.Features, n)
	for _, h := range status.RuntimeHandlers {
		found.message("handler "+h.Name, h.Features, n)
	}
	found.values("handlers", names(status.RuntimeHandlers, (*runtimeapi.RuntimeHandler).GetName), n)
	found.info("info", status.Info, n)
	found.message("version", answer(t, b.Version, &runtimeapi.VersionRequest{}), n)
	found.message("runtime config", answer(t, b.RuntimeConfig, &runtimeapi.RuntimeConfigRequest{}), n)
}

func names[M any](list []M, name func(M) string) []any {
	var all []any
	for _, m := range list {
		all = append(all, name(m))
	}
	return all
}

// images returns the daemon's answers about every image, for each kind of reference.
func (b bench) images(t *testing.T) leaves {
	t.Helper()
	found := leaves{}
	n := b.normaliser(nil)
	for what, ref := range b.references(t) {
		status := answer(t, b.ImageStatus, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: ref}, Verbose: true})
		found.message(what+"/status", status.Image, n)
		found.info(what+"/info", status.Info, n)
	}
	list := answer(t, b.ListImages, &runtimeapi.ListImagesRequest{})
	for _, img := range list.Images {
		found.message("list/"+img.Id, img, n)
	}
	return found
}

// check compares two sets of answers and fails for unknown differences.
func check(t *testing.T, what string, stock, lite leaves, known []difference) {
	t.Helper()
	t.Run(what, func(t *testing.T) {
		used := map[difference]bool{}
		for _, d := range differences(stock, lite) {
			if i := d.among(known); i >= 0 {
				used[known[i]] = true
				continue
			}
			t.Errorf("%s\n  stock: %.900s\n  lite:  %.900s", d.path, d.stock, d.lite)
		}
		maps.DeleteFunc(used, func(_ difference, seen bool) bool { return !seen })
		for _, d := range known {
			if !used[d] {
				t.Errorf("a known difference no longer exists: %s: stock %s, lite %s (%s)", d.path, d.stock, d.lite, d.reason)
			}
		}
	})
}
