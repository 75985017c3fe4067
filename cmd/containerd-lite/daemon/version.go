// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/containerd/containerd/v2/version"
	"github.com/urfave/cli/v3"
)

// setVersion makes the daemon report containerd's version, in --version, in its log and to `ctr
// version`, unless the linker has set one. The Go toolchain records the versions of both modules,
// so a build needs no flags for them.
func setVersion(app *cli.Command) {
	self := "(devel)"
	if build, ok := debug.ReadBuildInfo(); ok {
		self = build.Main.Version
		for _, s := range build.Settings {
			if s.Key == "vcs.revision" {
				self += "-" + s.Value
			}
		}
		for _, dep := range build.Deps {
			if dep.Path == version.Package && version.Revision == "" {
				version.Version = dep.Version
			}
		}
	}
	app.Version = version.Version
	// The first three words are those of containerd, for scripts that parse the version.
	cli.VersionPrinter = func(cmd *cli.Command) {
		fmt.Fprintln(cmd.Root().Writer, cmd.Name, version.Package, version.Version,
			"containerd-lite", self, runtime.Version())
	}
}
