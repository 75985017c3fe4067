// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// A reload that panics, here because it has no command, does not prevent the next one.
func TestPanicInAReload(t *testing.T) {
	hangups := make(chan os.Signal, 2)
	hangups <- unix.SIGHUP
	hangups <- unix.SIGHUP
	close(hangups)
	before := guard.Count()
	(&reloader{}).follow(t.Context(), hangups, nil)
	if n := guard.Count() - before; n != 2 {
		t.Errorf("%d panics in 2 reloads", n)
	}
}

// refusingCRI rejects each config.
type refusingCRI struct{}

var errRefused = errors.New("port in use")

func (refusingCRI) Reload(context.Context, config.Config) ([]string, error) { return nil, errRefused }

// If the CRI rejects the config, the log level does not change either.
func TestReloadIsAllOrNothing(t *testing.T) {
	before := log.GetLevel()
	path := filepath.Join(t.TempDir(), "config.toml")
	write(t, path, "version = 4\ndebug.level = 'trace'\n")
	cmd := Command()
	if err := cmd.Set("config", path); err != nil {
		t.Fatal(err)
	}
	r := &reloader{cmd: cmd, began: noFile(), cri: refusingCRI{}}
	if _, err := r.reload(t.Context()); !errors.Is(err, errRefused) {
		t.Errorf("reload = %v, want the reason of the CRI", err)
	}
	if log.GetLevel() != before {
		t.Errorf("the log level is %s, want %s", log.GetLevel(), before)
	}
}

func TestChangedTables(t *testing.T) {
	const base = "version = 4\nroot = '/r'\n"
	began := readConfig(t, base)
	for file, want := range map[string][]string{
		base:                                nil,
		base + "oom_score = 0\n":            nil,
		base + "[debug]\nlevel = 'debug'\n": nil,
		base + "[debug]\nformat = 'json'\n": {"debug"},
		base + "[plugins.'io.containerd.cri.v1.images']\nsnapshotter = 'x'": nil,
		"version = 4\nroot = '/other'\n[proxy_plugins.p]\ntype = 'snapshot'\naddress = '/s'\n[plugins.'io.containerd.nri.v1.nri']\ndisable = true\n": {
			"root", "proxy_plugins", "io.containerd.nri.v1.nri"},
	} {
		if got := changedTables(began, readConfig(t, file)); !slices.Equal(got, want) {
			t.Errorf("%q: changed %q, want %q", file, got, want)
		}
	}
}
