// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tags.cncf.io/container-device-interface/pkg/cdi"
)

// devices checks the CDI specs.
func devices(_ context.Context, n Node) []Finding {
	var dirs []string
	for _, dir := range n.Config.Runtime.CDISpecDirs {
		dirs = append(dirs, n.path(dir))
	}
	cache, err := cdi.NewCache(cdi.WithSpecDirs(dirs...), cdi.WithAutoRefresh(false))
	if err != nil {
		return []Finding{warning("mend cdi_spec_dirs in config.toml", "CDI specs cannot be read: %v", err)}
	}
	var problems []Finding
	for path, errs := range cache.GetErrors() {
		for _, err := range errs {
			problems = append(problems, warning("mend or remove the file", "%s: %v: containers with its devices fail", path, err))
		}
	}
	slices.SortFunc(problems, func(a, b Finding) int { return strings.Compare(a.What, b.What) })
	return orOK(problems, "%d CDI devices in %s", len(cache.ListDevices()), strings.Join(n.Config.Runtime.CDISpecDirs, ", "))
}

// nriDir is where NRI searches plugins by default.
const nriDir = "/opt/nri/plugins"

// plugins checks the NRI plugins that the daemon starts.
func plugins(_ context.Context, n Node) []Finding {
	files, err := os.ReadDir(n.path(nriDir))
	if err != nil {
		return []Finding{ok("no NRI plugins in %s", nriDir)}
	}
	var problems []Finding
	for _, f := range files {
		info, err := f.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		path := filepath.Join(nriDir, f.Name())
		index, name, found := strings.Cut(f.Name(), "-")
		switch {
		case info.Mode()&0o111 == 0:
			problems = append(problems, warning("chmod +x "+path, "the NRI plugin %s is not executable, and is not started", path))
		case !found || name == "" || len(index) != 2 || strings.Trim(index, "0123456789") != "":
			problems = append(problems, warning("rename it to two digits, a dash and its name, such as 10-"+f.Name(), "the NRI plugin %s has no index, and is not started", path))
		}
	}
	return orOK(problems, "%d NRI plugins in %s", len(files), nriDir)
}
