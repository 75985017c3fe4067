// SPDX-License-Identifier: Apache-2.0

package check

import (
	"cmp"
	"context"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// hole is a published way out of a container, and the versions in which it is mended, one for each
// branch that got the fix. Branches before the first are not mended, later ones never had it.
type hole struct {
	id     string
	mended []string
}

// holes are those of OCI runtimes that an image or a pod without privileges can use.
var holes = map[string][]hole{
	"runc": {
		{"CVE-2024-21626", []string{"v1.1.12"}},
		{"CVE-2025-31133, CVE-2025-52565, CVE-2025-52881", []string{"v1.2.8", "v1.3.3", "v1.4.0-rc.3"}},
	},
}

// has reports whether a version has the hole.
func (h hole) has(version string) bool {
	branch := semver.MajorMinor(version)
	for _, mended := range h.mended {
		if semver.MajorMinor(mended) == branch {
			return semver.Compare(version, mended) < 0
		}
	}
	return semver.Compare(version, h.mended[0]) < 0
}

// runtimes checks the shim and the OCI runtime of each handler.
func runtimes(ctx context.Context, n Node) []Finding {
	var all []Finding
	settings := n.Config.Runtime
	for _, name := range settings.HandlerNames() {
		h := settings.Containerd.Runtimes[name]
		if err := runtime.CheckShim(h); err != nil {
			level := warning
			if name == settings.Containerd.DefaultRuntimeName {
				level = failure
			}
			all = append(all, level("install the shim, or remove the handler from config.toml", "handler %s: %v", name, err))
			continue
		}
		all = append(all, ociRuntime(ctx, n, name, h)...)
	}
	if settings.Containerd.Runtimes[settings.Containerd.DefaultRuntimeName].Type == config.RuncRuntimeType {
		all = append(all, warning("set "+config.KeyPath(config.RuntimeTable, "containerd", "runtimes", settings.Containerd.DefaultRuntimeName, "runtime_type")+
			" = "+`"`+config.LiteRuntimeType+`"`,
			"the default handler %s uses containerd-shim-runc-v2: a process more in each pod, and logs are not written while the daemon is down",
			settings.Containerd.DefaultRuntimeName))
	}
	return all
}

// ociRuntime checks the OCI runtime of a handler.
func ociRuntime(ctx context.Context, n Node, name string, h config.Handler) []Finding {
	shim := cmp.Or(h.Path, h.Type)
	if !h.IsRunc() {
		return []Finding{ok("handler %s: %s", name, shim)}
	}
	err := runtime.CheckProgram(h.Program())
	program, version := "", ""
	if err == nil {
		program, version, err = n.RuntimeVersion(ctx, name)
	}
	if err != nil {
		return []Finding{failure("apt install runc, or set options.BinaryName of the handler", "handler %s: OCI runtime %v", name, err)}
	}
	if program == "" {
		return []Finding{ok("handler %s: %s", name, shim)}
	}
	var problems []Finding
	for _, hole := range holes[program] {
		if v := canonical(version); semver.IsValid(v) && hole.has(v) {
			problems = append(problems, warning("update "+program+", unless your distribution has mended this version",
				"handler %s: %s %s has %s, by which a container becomes root of the node", name, program, version, hole.id))
		}
	}
	return orOK(problems, "handler %s: %s, %s %s", name, shim, program, version)
}

// canonical returns a version as package semver expects it. Distributions append their own version
// behind "+", "~" or "-".
func canonical(version string) string {
	version, _, _ = strings.Cut(version, "~")
	version, _, _ = strings.Cut(version, "+")
	if released, appended, _ := strings.Cut(version, "-"); !strings.HasPrefix(appended, "rc") {
		version = released
	}
	return "v" + strings.TrimPrefix(version, "v")
}
