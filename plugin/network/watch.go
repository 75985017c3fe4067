// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/log"
	"github.com/fsnotify/fsnotify"
	"golang.org/x/sync/errgroup"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

const (
	// settleTime collects the events of one change: an installer creates a file, then writes it.
	settleTime = 50 * time.Millisecond
	// pollInterval is how often the directories are checked for changes for which the kernel sends
	// no event: a mount over a directory, an overlay's lower layer, the target of a symbolic link.
	pollInterval = 5 * time.Second
)

// Run follows the CNI configuration directories, even while they do not exist, and runs CNI STATUS
// when Status requests it, until ctx ends. Directories that cannot be watched are polled.
func (n *Network) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return guard.Keep(ctx, "watch CNI config", func() error { n.watch(ctx); return nil })
	})
	g.Go(func() error {
		return guard.Keep(ctx, "ask CNI plugins", func() error { n.refreshStatus(ctx); return nil })
	})
	return g.Wait()
}

// refreshStatus runs CNI STATUS for the configurations in n.outdated.
func (n *Network) refreshStatus(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-n.outdated:
			h.refresh(ctx, h.cni)
		}
	}
}

// watcher reports changes of directories by inotify, if that is available.
type watcher struct {
	inotify *fsnotify.Watcher // nil if there is none
	events  <-chan fsnotify.Event
	errors  <-chan error
	failing bool // the last call of follow had an error
}

// openWatcher returns a watcher without inotify if the user has no inotify instance left.
func (n *Network) openWatcher(ctx context.Context) *watcher {
	inotify, err := n.newInotify()
	if err != nil {
		log.G(ctx).WithError(err).Warnf("CNI config directories cannot be watched, changes take effect within %v; "+
			"raise fs.inotify.max_user_instances and restart", n.pollInterval)
		return &watcher{}
	}
	return &watcher{inotify: inotify, events: inotify.Events, errors: inotify.Errors}
}

func (w *watcher) close() {
	if w.inotify != nil {
		_ = w.inotify.Close()
	}
}

// follow watches the directories. It does nothing for a directory that is watched already.
func (w *watcher) follow(ctx context.Context, dirs []string) {
	if w.inotify == nil {
		return
	}
	var err error
	for _, dir := range dirs {
		err = errors.Join(err, watchNearest(w.inotify, dir))
	}
	if err != nil && !w.failing {
		log.G(ctx).WithError(err).Warn("not all CNI config directories can be watched, they are polled; raise fs.inotify.max_user_watches")
	}
	w.failing = err != nil
}

func (n *Network) watch(ctx context.Context) {
	w := n.openWatcher(ctx)
	defer func() { w.close() }()
	poll := time.NewTicker(n.pollInterval)
	defer poll.Stop()
	settled := time.NewTimer(0)
	settled.Stop()
	n.reload(ctx, w) // for changes since New, which cause no event
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.replaced:
			w.close() // of the directories of the former settings
			w = n.openWatcher(ctx)
			n.reload(ctx, w)
		case e := <-w.events:
			if n.settings.Load().isAffected(e) {
				settled.Reset(settleTime)
			}
		case err := <-w.errors:
			log.G(ctx).WithError(err).Warn("CNI config events were lost; reading the directories again")
			settled.Reset(settleTime)
		case <-settled.C:
			n.reload(ctx, w)
		case <-poll.C:
			if n.settings.Load().isOutdated() {
				n.reload(ctx, w)
			}
		}
	}
}

// isOutdated reports whether a directory has changed since it was loaded.
func (s *settings) isOutdated() bool {
	for _, c := range s.confs {
		if fingerprint(c.dir) != c.current.Load().fingerprint {
			return true
		}
	}
	return false
}

func (s *settings) isAffected(e fsnotify.Event) bool {
	if e.Op == fsnotify.Chmod {
		return false
	}
	for _, c := range s.confs {
		dir := filepath.Clean(c.dir)
		inside := filepath.Dir(e.Name) == dir
		above := e.Name == dir || strings.HasPrefix(dir, e.Name+string(filepath.Separator))
		if inside || above {
			return true
		}
	}
	return false
}

// reload reads all directories. It watches them first, so that no later change is missed.
func (n *Network) reload(ctx context.Context, w *watcher) {
	s := n.settings.Load()
	var dirs []string
	for _, c := range s.confs {
		dirs = append(dirs, filepath.Clean(c.dir))
	}
	w.follow(ctx, dirs)
	for _, c := range s.confs {
		c.load()
		if err := c.current.Load().err; err != nil {
			log.G(ctx).WithError(err).Warn("CNI config cannot be used; no pod can be attached to its network")
		} else {
			log.G(ctx).WithField("dir", c.dir).Info("CNI config loaded")
		}
	}
}

// watchNearest watches a directory, or the nearest existing one above it.
func watchNearest(w *fsnotify.Watcher, dir string) error {
	for at := dir; ; {
		err := w.Add(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at):
			at = filepath.Dir(at)
		case err != nil || at == dir:
			return err
		default:
			// A directory that was created below before the watch began caused no event.
			below := childToward(at, dir)
			if !exists(below) {
				return nil
			}
			at = below
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// childToward returns the entry of the directory above that leads to dir.
func childToward(above, dir string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(dir, above), "/")
	name, _, _ := strings.Cut(rest, "/")
	return filepath.Join(above, name)
}
