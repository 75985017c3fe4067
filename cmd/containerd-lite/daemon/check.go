// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/log"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/pelletier/go-toml/v2"

	"github.com/containerd-lite/containerd-lite/internal/cgroup"
	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// file is one file of the config: the file of --config, or an imported one.
type file struct {
	path string
	// lines are the line numbers of its keys, by path.
	lines lines
}

// checked is a config without errors.
type checked struct {
	*srvconfig.Config
	cri *criConfig
}

// noFile returns the config that applies without a file.
func noFile() *checked {
	return &checked{&srvconfig.Config{}, &criConfig{config.DefaultImages(), config.DefaultRuntime(), config.DefaultServer()}}
}

// checkQuietly is [checkConfig] without its log lines, which the daemon logs again when it loads
// the config.
func checkQuietly(ctx context.Context, path string) (*checked, error) {
	defer silenceLog()()
	return checkConfig(ctx, path)
}

// checkConfig returns the config, or its errors: all those in the CRI's part, and the first one of
// each other plugin. containerd would report most of them, too, but only while its plugins load,
// and without file and line.
func checkConfig(ctx context.Context, path string) (*checked, error) {
	files, err := readFiles(path)
	if err != nil {
		return nil, err
	}
	registered := registry.Graph(func(*plugin.Registration) bool { return false })
	merged, err := load(ctx, path, registered)
	if err != nil {
		return nil, err
	}
	cri, err := decodeCRI(ctx, merged)
	if err := errors.Join(err, checkTypes(ctx, merged, registered)); err != nil {
		return nil, locate(files, err)
	}
	if slices.Contains(merged.DisabledPlugins, config.ServerTable) {
		return &checked{merged, cri}, nil
	}
	return &checked{merged, cri}, locate(files, cri.validate())
}

// print writes the remarks about a valid config that the daemon logs at its start: keys without
// effect, and notes.
func (c *checked) print(out io.Writer) {
	if slices.Contains(c.DisabledPlugins, config.ServerTable) {
		return
	}
	c.cri.runtime.Complete()
	for _, line := range slices.Concat(c.cri.images.Pending(), c.cri.runtime.Pending()) {
		fmt.Fprintln(out, "warning:", line)
	}
	for _, line := range c.cri.runtime.Notes() {
		fmt.Fprintln(out, "note:", line)
	}
}

// locate prefixes each problem with its file and line.
func locate(files []file, err error) error {
	var problems []error
	for _, p := range config.Problems(err) {
		problems = append(problems, fmt.Errorf("%s: %w", position(files, p), p))
	}
	return errors.Join(problems...)
}

// readFiles reads the file at path and all imported files, in containerd's order: later files
// override earlier ones.
func readFiles(path string) ([]file, error) {
	var files []file
	pending := []string{path}
	for len(pending) > 0 {
		path, pending = pending[0], pending[1:]
		if slices.ContainsFunc(files, func(f file) bool { return f.path == path }) {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("config file: %w", err)
		}
		var content srvconfig.Config
		if err := toml.Unmarshal(data, &content); err != nil {
			return nil, config.SyntaxError(path, err)
		}
		files = append(files, file{path, findLines(data)})
		for _, pattern := range content.Imports {
			imports, err := expandImport(path, pattern)
			if err != nil {
				return nil, err
			}
			pending = append(pending, imports...)
		}
	}
	return files, nil
}

// expandImport returns the files of an import in the file parent.
func expandImport(parent, pattern string) ([]string, error) {
	pattern = filepath.Clean(pattern)
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(filepath.Dir(parent), pattern)
	}
	if !strings.Contains(pattern, "*") {
		return []string{pattern}, nil
	}
	files, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: imports %q: %w", parent, pattern, err)
	}
	return files, nil
}

// load reads the config in the same way as the daemon.
func load(ctx context.Context, path string, registered []plugin.Registration) (*srvconfig.Config, error) {
	merged := &srvconfig.Config{
		Version:          version.ConfigVersion,
		Plugins:          map[string]any{},
		ProxyPlugins:     map[string]srvconfig.ProxyPlugin{},
		StreamProcessors: map[string]srvconfig.StreamProcessor{},
		Timeouts:         map[string]string{},
	}
	plugins := func() iter.Seq[plugin.Registration] { return slices.Values(registered) }
	if err := srvconfig.LoadConfigWithPlugins(ctx, path, plugins, merged); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return merged, nil
}

// checkTypes decodes the table of every plugin except those of [criConfig], and returns the first
// problem of each.
func checkTypes(ctx context.Context, merged *srvconfig.Config, registered []plugin.Registration) error {
	var problems []error
	for _, r := range registered {
		t := reflect.TypeOf(r.Config)
		if t == nil || t.Kind() != reflect.Pointer || slices.Contains(criTables, r.URI()) {
			continue
		}
		// The registered value is the one that the plugin will get: decode into a new one.
		problems = append(problems, decode(ctx, merged, r.URI(), reflect.New(t.Elem()).Interface()))
	}
	return errors.Join(problems...)
}

// criConfig has the tables of the CRI.
type criConfig struct {
	images  config.Images
	runtime config.Runtime
	server  config.Server
}

var criTables = []string{config.ImagesTable, config.RuntimeTable, config.ServerTable}

// decodeCRI returns the CRI's config, or the first type error of each table. These tables are
// decoded only here, because containerd warns of each unknown key when it decodes a table.
func decodeCRI(ctx context.Context, merged *srvconfig.Config) (*criConfig, error) {
	c := noFile().cri
	return c, errors.Join(
		decode(ctx, merged, config.ImagesTable, &c.images),
		decode(ctx, merged, config.RuntimeTable, &c.runtime),
		decode(ctx, merged, config.ServerTable, &c.server))
}

// validate returns all problems in the values of the tables.
func (c *criConfig) validate() error {
	_, err := c.runtime.BaseSpecs()
	return errors.Join(
		c.images.Validate(),
		c.runtime.Validate(config.Host{CgroupV2: cgroup.IsV2()}),
		err,
		c.server.Validate())
}

func decode(ctx context.Context, merged *srvconfig.Config, table string, into any) error {
	_, err := merged.Decode(ctx, table, into)
	if err == nil {
		return nil
	}
	problem := config.Problem{Table: table, What: err.Error(), Hint: "`containerd-lite config default` shows every key"}
	var at *toml.DecodeError
	if errors.As(err, &at) {
		problem.Key = at.Key()
	}
	return problem
}

// silenceLog turns the log off and returns a function that turns it on again. It must be called
// before the daemon starts, because the log is shared.
func silenceLog() (restore func()) {
	level := log.GetLevel()
	set := func(level string) {
		if err := log.SetLevel(level); err != nil {
			panic(err) // not reached: the levels are those of the log package
		}
	}
	set("panic")
	return func() { set(level.String()) }
}
