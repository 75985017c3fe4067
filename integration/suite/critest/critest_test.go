// SPDX-License-Identifier: Apache-2.0

package critest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// pinned is the digest by which critest refers to one of its images. That image cannot be rebuilt,
// so the tests run a copy of critest that has the digest of our image instead.
const pinned = "9700f9a2f5bf2c45f2f605a0bd3bce7cf37420ec9d3ed50ac2758413308766bf"

// TestCritest runs the whole suite: on containerd-lite with either shim, and on stock containerd
// with the stock shim. LITE_DAEMON and LITE_HANDLER, or another of the bench's variables, select
// one pair instead. LITE_FOCUS selects specs by a regular expression, LITE_SEED repeats a random
// order, LITE_RUNS is the number of runs, and LITE_WEBSOCKET=1 uses WebSocket instead of SPDY for
// exec, attach and port-forward.
func TestCritest(t *testing.T) {
	pairs := []harness.Options{
		{Daemon: harness.Lite, Handler: harness.HandlerLite},
		{Daemon: harness.Lite, Handler: harness.HandlerRunc},
		{Daemon: harness.Stock, Handler: harness.HandlerLite},
	}
	if chosen := harness.FromEnv(); chosen != (harness.Options{}) {
		pairs = []harness.Options{chosen}
	}
	for _, options := range pairs {
		options = options.WithDefaults()
		options.NRI.Enabled = true
		for range runs(t) {
			t.Run(options.Daemon+" with handler "+options.Handler, func(t *testing.T) { suite(t, options) })
		}
	}
}

func runs(t *testing.T) int {
	t.Helper()
	asked := os.Getenv("LITE_RUNS")
	if asked == "" {
		return 1
	}
	count, err := strconv.Atoi(asked)
	if err != nil || count < 1 {
		t.Fatalf("LITE_RUNS=%q is not a number of runs", asked)
	}
	return count
}

// suite runs critest once. It prints its numbers as lines that begin with "report: ".
func suite(t *testing.T, options harness.Options) {
	bench := harness.StartWith(t, options)
	specs := run(t, bench, bench.Path("critest.json"))
	expected := readSkips(t, "testdata/skips.txt")
	if options.Daemon == harness.Stock {
		maps.Copy(expected, readSkips(t, "testdata/skips_stock.txt"))
	}
	if options.Runtime != "runc" && exec.Command(options.Runtime, "features").Run() != nil {
		// The runtime does not report its features (crun 1.8.1): containerd does not offer them,
		// and critest skips their specs.
		expected["Container Mount Readonly"] = options.Runtime + " does not report its features"
		expected["Security Context UserNamespaces"] = options.Runtime + " does not report its features"
	}
	groups, all := map[string]*Counts{}, Counts{}
	for _, spec := range specs {
		if groups[spec.Group()] == nil {
			groups[spec.Group()] = &Counts{}
		}
		if spec.State == "skipped" && os.Getenv("LITE_FOCUS") != "" && spec.Failure.Message == "" {
			continue // not in focus
		}
		groups[spec.Group()].add(spec.State)
		all.add(spec.State)
		t.Run(spec.Group()+"/"+spec.Name(), func(t *testing.T) { judge(t, spec, expected) })
	}
	report := func(what string, counts fmt.Stringer) { fmt.Printf("report: %-45s %s\n", what, counts) }
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		report("critest: "+group, groups[group])
	}
	report("critest on "+options.Daemon+" with handler "+options.Handler, all)
	if all.Passed == 0 {
		t.Error("no spec passed")
	}
}

// judge turns the outcome of a spec into that of a Go test: every failure is a failure, and a skip
// is one, too, unless testdata/skips.txt lists it.
func judge(t *testing.T, spec Spec, expected map[string]string) {
	switch spec.State {
	case "passed":
	case "skipped", "pending":
		reason, listed := skipReason(spec, expected)
		if !listed {
			t.Fatalf("skipped, but not listed in testdata/skips.txt: %s", spec.Failure.Message)
		}
		t.Skip(reason)
	default:
		t.Errorf("%s: %s\n%s", spec.State, spec.Failure.Message, spec.CapturedGinkgoWriterOutput)
	}
}

func skipReason(spec Spec, expected map[string]string) (reason string, listed bool) {
	for prefix, reason := range expected {
		if strings.HasPrefix(spec.Group()+" "+spec.Name(), prefix) {
			return reason, true
		}
	}
	return "", false
}

// readSkips reads lines of the form `beginning of a spec's name: reason`.
func readSkips(t *testing.T, name string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	skips := map[string]string{}
	for line := range strings.Lines(string(text)) {
		spec, reason, found := strings.Cut(strings.TrimSpace(line), ": ")
		if found && !strings.HasPrefix(line, "#") {
			skips[spec] = reason
		}
	}
	if text, err := os.ReadFile("/sys/module/apparmor/parameters/enabled"); err == nil && strings.HasPrefix(string(text), "Y") {
		delete(skips, "AppArmor")
	}
	return skips
}

// idmap is a spec with a user namespace for the pod.
const idmap = "when Host idmap mount support is needed runtime should support NamespaceMode_POD"

// run runs critest and returns the specs of its report. An error exit of critest is ignored: the
// report has the failed specs.
func run(t *testing.T, bench *harness.Bench, report string) []Spec {
	t.Helper()
	endpoint := "unix://" + bench.Daemon.Socket
	args := []string{
		"-runtime-endpoint", endpoint, "-image-endpoint", endpoint, "-config", bench.CrictlConfig(),
		"-ginkgo.json-report", report, "-ginkgo.timeout", "100m", "-ginkgo.no-color",
		"-ginkgo.randomize-all", "-nri-socket", bench.Path("nri.sock"),
	}
	if focus := os.Getenv("LITE_FOCUS"); focus != "" {
		args = append(args, "-ginkgo.focus", focus)
	}
	if bench.Options.Daemon == harness.Stock && bench.Handler == harness.HandlerLite && bench.HandlerOptions(bench.Handler) != "" {
		// containerd's own CRI refuses user namespaces for a handler whose options are not runc's
		// message.
		args = append(args, "-ginkgo.skip", idmap)
	}
	if seed := os.Getenv("LITE_SEED"); seed != "" {
		args = append(args, "-ginkgo.seed", seed)
	}
	if os.Getenv("LITE_WEBSOCKET") != "" {
		args = append(args, "-websocket-exec", "-websocket-attach", "-websocket-portforward")
	}
	cmd := exec.CommandContext(t.Context(), binary(t, bench), args...)
	cmd.Dir = bench.Root
	output, err := cmd.CombinedOutput()
	specs, reportErr := readReport(report)
	if reportErr != nil {
		t.Fatalf("critest: %v: %v\n%s", err, reportErr, output)
	}
	for line := range strings.Lines(string(output)) {
		if strings.HasPrefix(line, "Random Seed:") {
			fmt.Print("report: critest: ", line)
		}
	}
	return specs
}

// binary writes a critest that has the digest of our image, and returns its path.
func binary(t *testing.T, bench *harness.Bench) string {
	t.Helper()
	original, err := os.ReadFile(bench.Tool("critest"))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := bench.Registry.Image(image.Digested + ":latest").Digest()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(original, []byte(pinned)) {
		t.Fatalf("critest no longer contains the digest %s", pinned)
	}
	file := bench.Path("critest")
	if err := os.WriteFile(file, repin(original, digest), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func repin(critest []byte, digest v1.Hash) []byte {
	return bytes.ReplaceAll(critest, []byte(pinned), []byte(digest.Hex))
}
