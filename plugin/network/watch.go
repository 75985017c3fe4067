// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/log"
	"github.com/fsnotify/fsnotify"
	"golang.org/x/sync/errgroup"
)

// settleTime gathers the events of one change: a file is made, then written.
const settleTime = 50 * time.Millisecond

// Run follows the CNI configuration directories, also while they do not exist
// yet, and asks the plugins for their status, until ctx ends. It returns an
// error when the directories cannot be watched.
func (n *Network) Run(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch CNI config: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer watcher.Close()
		return n.watch(ctx, watcher)
	})
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case h := <-n.outdated:
				h.ask(ctx, n.cni)
			}
		}
	})
	return g.Wait()
}

func (n *Network) watch(ctx context.Context, w *fsnotify.Watcher) error {
	// Changes since New are told by no event.
	if err := n.reload(ctx, w); err != nil {
		return err
	}
	settled := time.NewTimer(0)
	settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-w.Events:
			if n.isAffected(e) {
				settled.Reset(settleTime)
			}
		case err := <-w.Errors: // events were lost
			log.G(ctx).WithError(err).Warn("CNI config watch")
			settled.Reset(settleTime)
		case <-settled.C:
			if err := n.reload(ctx, w); err != nil {
				return err
			}
		}
	}
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
// seen. To watch a directory again does nothing.
func (n *Network) reload(ctx context.Context, w *fsnotify.Watcher) error {
	for _, c := range n.confs {
		if err := watchNearest(w, filepath.Clean(c.dir)); err != nil {
			return fmt.Errorf("watch CNI config: %w", err)
		}
		c.load()
		if err := c.current.Load().err; err != nil {
			log.G(ctx).WithError(err).Warn("pods cannot be attached to a network")
		} else {
			log.G(ctx).WithField("dir", c.dir).Info("CNI config loaded")
		}
	}
	return nil
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
