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
	// settleTime gathers the events of one change: a file is made, then written.
	settleTime = 50 * time.Millisecond
	// pollInterval is how often the directories are looked at for changes that the kernel does not
	// announce: a mount over a directory, an overlay's lower layer, the target of a symbolic link.
	pollInterval = 5 * time.Second
)

// Run follows the CNI configuration directories, also while they do not exist
// yet, and asks the plugins for their status, until ctx ends. Where they cannot be
// watched they are polled.
func (n *Network) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return guard.Keep(ctx, "watch CNI config", func() error { n.watch(ctx); return nil })
	})
	g.Go(func() error {
		return guard.Keep(ctx, "ask CNI plugins", func() error { n.askAll(ctx); return nil })
	})
	return g.Wait()
}

// askAll asks the plugins of each configuration that is handed in.
func (n *Network) askAll(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-n.outdated:
			h.ask(ctx, n.cni)
		}
	}
}

// watcher announces changes of directories, as far as it can.
type watcher struct {
	inotify *fsnotify.Watcher // nil if there is none
	events  <-chan fsnotify.Event
	errors  <-chan error
	failing bool // the last follow did not succeed
}

// openWatcher returns a watcher that announces nothing when the user has no inotify instance left.
func (n *Network) openWatcher(ctx context.Context) *watcher {
	inotify, err := n.newInotify()
	if err != nil {
		log.G(ctx).WithError(err).Warnf("CNI config directories cannot be watched and are polled every %v; "+
			"raise fs.inotify.max_user_instances and restart to have changes at once", n.pollInterval)
		return &watcher{}
	}
	return &watcher{inotify: inotify, events: inotify.Events, errors: inotify.Errors}
}

func (w *watcher) close() {
	if w.inotify != nil {
		_ = w.inotify.Close()
	}
}

// follow makes sure that the next change of the directories is announced. To follow a
// directory again does nothing.
func (w *watcher) follow(ctx context.Context, dirs []string) {
	if w.inotify == nil {
		return
	}
	var err error
	for _, dir := range dirs {
		err = errors.Join(err, watchNearest(w.inotify, dir))
	}
	if err != nil && !w.failing {
		log.G(ctx).WithError(err).Warn("CNI config directories are polled, since not all can be watched; see fs.inotify.max_user_watches")
	}
	w.failing = err != nil
}

func (n *Network) watch(ctx context.Context) {
	w := n.openWatcher(ctx)
	defer w.close()
	poll := time.NewTicker(n.pollInterval)
	defer poll.Stop()
	settled := time.NewTimer(0)
	settled.Stop()
	n.reload(ctx, w) // changes since New are announced by no event
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-w.events:
			if n.isAffected(e) {
				settled.Reset(settleTime)
			}
		case err := <-w.errors: // events were lost
			log.G(ctx).WithError(err).Warn("CNI config watch")
			settled.Reset(settleTime)
		case <-settled.C:
			n.reload(ctx, w)
		case <-poll.C:
			if n.isOutdated() {
				n.reload(ctx, w)
			}
		}
	}
}

// isOutdated reports whether a directory is not what it was when it was loaded.
func (n *Network) isOutdated() bool {
	for _, c := range n.confs {
		if look(c.dir) != c.current.Load().seen {
			return true
		}
	}
	return false
}

func (n *Network) isAffected(e fsnotify.Event) bool {
	if e.Op == fsnotify.Chmod {
		return false
	}
	for _, c := range n.confs {
		dir := filepath.Clean(c.dir)
		inside := filepath.Dir(e.Name) == dir
		above := e.Name == dir || strings.HasPrefix(dir, e.Name+string(filepath.Separator))
		if inside || above {
			return true
		}
	}
	return false
}

// reload reads all directories, after it made sure that their next change is
// seen.
func (n *Network) reload(ctx context.Context, w *watcher) {
	var dirs []string
	for _, c := range n.confs {
		dirs = append(dirs, filepath.Clean(c.dir))
	}
	w.follow(ctx, dirs)
	for _, c := range n.confs {
		c.load()
		if err := c.current.Load().err; err != nil {
			log.G(ctx).WithError(err).Warn("pods cannot be attached to a network")
		} else {
			log.G(ctx).WithField("dir", c.dir).Info("CNI config loaded")
		}
	}
}

// watchNearest watches a directory, or the nearest one above it while it does
// not exist.
func watchNearest(w *fsnotify.Watcher, dir string) error {
	for at := dir; ; {
		err := w.Add(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at):
			at = filepath.Dir(at)
		case err != nil || at == dir:
			return err
		default:
			// What was made below while nobody watched is told by no event.
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
