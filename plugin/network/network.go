// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	gocni "github.com/containerd/go-cni"
	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/fsnotify/fsnotify"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/metrics"
)

// Options of a Network: the keys of the table cni in the configuration.
type Options struct {
	BinDirs    []string // search path for CNI plugins
	ConfDir    string
	MaxConfNum int // networks to attach from ConfDir; 0 is all
	// ConfTemplate is a file from which UsePodCIDRs makes a configuration.
	ConfTemplate string
	// Handlers has the configurations of the runtime handlers that have their own.
	Handlers map[string]HandlerConf

	SetupSerially bool   // attach the networks one after another
	IPPref        string // the pod's first address: ipv4 (also ""), ipv6, cni (as reported)

	cache string // of libcni; "" is the default directory
}

// HandlerConf is the CNI configuration of one runtime handler.
type HandlerConf struct {
	ConfDir    string
	MaxConfNum int // 0 means that of Options
}

// Network attaches pods to networks with CNI plugins. It calls libcni directly and not through
// go-cni. So a context can end a plugin that hangs, STATUS has a time limit, and DEL gets the
// configuration of the ADD, even if the files have changed since. Only the format of results is
// that of go-cni.
type Network struct {
	settings atomic.Pointer[settings]
	replaced chan struct{} // gets a value when there are other settings
	outdated chan outdated // to be refreshed by Run

	pollInterval time.Duration
	newInotify   func() (*fsnotify.Watcher, error)
}

// settings are the Options with the configurations in their directories. A call in progress goes on
// with its own when [Network.Reload] replaces them.
type settings struct {
	opts  Options
	cni   *libcni.CNIConfig
	exec  *pluginExec
	confs map[string]*conf // immutable map by handler; "" is the default
}

// maxOutdated is how many configurations can wait for CNI STATUS at a time.
const maxOutdated = 16

// New loads the CNI configurations. Status and Attach return the errors of loading them, since they
// may be corrected later.
func New(opts Options) *Network {
	n := &Network{
		replaced: make(chan struct{}, 1),
		outdated: make(chan outdated, maxOutdated),

		pollInterval: pollInterval,
		newInotify:   fsnotify.NewWatcher,
	}
	n.settings.Store(newSettings(opts))
	return n
}

// Reload replaces the Options, and loads the configurations again.
func (n *Network) Reload(opts Options) {
	n.settings.Store(newSettings(opts))
	select {
	case n.replaced <- struct{}{}:
	default:
	}
}

func newSettings(opts Options) *settings {
	exec := &pluginExec{}
	s := &settings{
		opts:  opts,
		cni:   libcni.NewCNIConfigWithCacheDir(opts.BinDirs, opts.cache, exec),
		exec:  exec,
		confs: map[string]*conf{"": {dir: opts.ConfDir, max: opts.MaxConfNum}},
	}
	for name, h := range opts.Handlers {
		c := &conf{dir: h.ConfDir, max: h.MaxConfNum}
		if c.max == 0 {
			c.max = opts.MaxConfNum
		}
		s.confs[name] = c
	}
	for _, c := range s.confs {
		c.load()
	}
	return s
}

func (s *settings) conf(handler string) *conf {
	if c, ok := s.confs[handler]; ok {
		return c
	}
	return s.confs[""]
}

// Check returns an error if the request for a pod is invalid, before anything is created: sysctls
// must belong to namespaces of the pod, and for a pod with its own network the values for CNI
// plugins must be well-formed. Errors are errdefs.ErrInvalidArgument.
func Check(pod Pod, pin PinOptions) error {
	if _, err := parseSysctls(pin.Sysctls, pin.cloneFlags()); err != nil || !pin.Net {
		return err
	}
	_, err := pod.runtimeConf()
	return err
}

// Attach runs CNI ADD for every network of the pod's handler and returns the addresses of the pod.
// When ctx ends, or after addTimeout, running plugins are killed. After an error the plugins may
// have completed part of their work: the caller runs Detach.
//
// A missing or broken configuration and a missing plugin are errdefs.ErrFailedPrecondition, invalid
// values of the pod ErrInvalidArgument.
func (n *Network) Attach(ctx context.Context, pod Pod) (Result, error) {
	rt, err := pod.runtimeConf()
	if err != nil {
		return Result{}, err
	}
	s := n.settings.Load()
	networks, err := s.ready(pod.Handler)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, addTimeout)
	defer cancel()
	start := time.Now()
	result, err := guard.Value(ctx, "CNI ADD", func() (Result, error) { return s.add(ctx, networks, rt) })
	metrics.CountNetwork(metrics.NetworkSetUp, start, err)
	return result, err
}

// ready returns the networks of the handler, or an error if pods cannot be attached to them.
func (s *settings) ready(handler string) ([]cniNetwork, error) {
	l := s.conf(handler).current.Load()
	if l.err != nil {
		return nil, l.err
	}
	for _, network := range l.networks {
		for _, p := range network.list.Plugins {
			if _, err := s.exec.FindInPath(p.Network.Type, s.opts.BinDirs); err != nil {
				return nil, fmt.Errorf("CNI network %q: %w", network.list.Name, err)
			}
		}
	}
	return l.networks, nil
}

func (s *settings) add(ctx context.Context, networks []cniNetwork, rt libcni.RuntimeConf) (Result, error) {
	results := make([]*types100.Result, len(networks))
	errs := make([]error, len(networks))
	addOne := func(i int) {
		var err error
		if results[i], err = s.addOne(ctx, networks[i], rt); err != nil {
			errs[i] = fmt.Errorf("CNI network %q: %w", networks[i].list.Name, err)
		}
	}
	var wg sync.WaitGroup
	for i := range networks {
		if !s.opts.SetupSerially {
			guard.Go(ctx, &wg, "CNI ADD", func() { addOne(i) })
			continue
		}
		if addOne(i); errs[i] != nil {
			break
		}
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return Result{}, err
	}
	return newResult(results, s.opts.IPPref)
}

// addOne runs CNI ADD for one network. A panic of libcni on the answer of a plugin becomes an
// error.
func (s *settings) addOne(ctx context.Context, network cniNetwork, rt libcni.RuntimeConf) (*types100.Result, error) {
	return guard.Value(ctx, "CNI ADD", func() (*types100.Result, error) {
		r, err := s.cni.AddNetworkList(ctx, network.list, network.runtimeConf(rt))
		if err != nil {
			return nil, err
		}
		return types100.NewResultFromResult(r)
	})
}

// Detach runs CNI DEL for every network of the pod. A network namespace that does not exist any
// more is not passed to the plugins. Detach uses the attachments that libcni cached at ADD, and so
// works after the configuration was changed or removed. Networks without a cached attachment, for
// example because ADD was interrupted, are detached with the current configuration. A pod that was
// never attached is no error. All plugins together have delTimeout.
func (n *Network) Detach(ctx context.Context, pod Pod) error {
	ctx, cancel := context.WithTimeout(ctx, delTimeout)
	defer cancel()
	// An invalid value must not prevent the release of the addresses.
	rt, _ := pod.runtimeConf()
	if !IsPinned(rt.NetNS) {
		rt.NetNS = ""
	}
	s := n.settings.Load()
	cached, err := s.cni.GetCachedAttachments(pod.ID)
	if err != nil {
		return fmt.Errorf("CNI cache: %w", err)
	}
	start := time.Now()
	err = s.del(ctx, networksToDetach(cached, s.conf(pod.Handler).current.Load().networks), rt)
	metrics.CountNetwork(metrics.NetworkTearDown, start, err)
	return err
}

// Attached returns the path of the network namespace of each attachment in the CNI cache, by
// container ID. They include those of other runtimes on this host.
func (n *Network) Attached() (map[string]string, error) {
	cached, err := n.settings.Load().cni.GetCachedAttachments("")
	if err != nil {
		return nil, fmt.Errorf("CNI cache: %w", err)
	}
	attached := make(map[string]string, len(cached))
	for _, a := range cached {
		attached[a.ContainerID] = a.NetNS
	}
	return attached, nil
}

// networksToDetach returns the networks to run DEL for. Cached attachments come with the loaded
// network if its configuration is unchanged, otherwise with the cached configuration. Loaded
// networks for interfaces without a cached attachment are included, too.
func networksToDetach(cached []*libcni.NetworkAttachment, loaded []cniNetwork) []cniNetwork {
	byInterface := make(map[string]*libcni.NetworkAttachment, len(cached))
	for _, a := range cached {
		byInterface[a.IfName] = a
	}
	var all []cniNetwork
	for _, l := range loaded {
		attachment, ok := byInterface[l.ifName]
		if ok && (attachment.Network != l.list.Name || string(attachment.Config) != string(l.list.Bytes)) {
			continue
		}
		l.attachment = attachment
		all = append(all, l)
		delete(byInterface, l.ifName)
	}
	for _, a := range cached {
		if _, ok := byInterface[a.IfName]; !ok {
			continue
		}
		list, err := libcni.NetworkConfFromBytes(a.Config)
		if err != nil {
			continue // not written by libcni, so there is no configuration for DEL
		}
		all = append(all, cniNetwork{ifName: a.IfName, list: list, attachment: a})
	}
	return all
}

// del runs DEL for all networks in reverse order, and continues after an error.
func (s *settings) del(ctx context.Context, networks []cniNetwork, rt libcni.RuntimeConf) error {
	var errs []error
	for i := len(networks) - 1; i >= 0; i-- {
		network := networks[i]
		// The cached result of an ADD by an older release may not pass checkAnswer, and libcni may
		// panic on it.
		err := guard.Call(ctx, "CNI DEL", func() error { return s.cni.DelNetworkList(ctx, network.list, network.runtimeConf(rt)) })
		var cniErr *types.Error
		if errors.As(err, &cniErr) && cniErr.Code == types.ErrUnknownContainer {
			continue // the plugin has no state of the pod
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("CNI network %q: %w", network.list.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Info returns the configuration of a runtime handler in the format of "crictl info", and the error
// of loading it.
func (n *Network) Info(handler string) (*gocni.ConfigResult, error) {
	s := n.settings.Load()
	c := s.conf(handler)
	l := c.current.Load()
	info := &gocni.ConfigResult{
		PluginDirs:       s.opts.BinDirs,
		PluginConfDir:    c.dir,
		PluginMaxConfNum: c.max,
		Prefix:           interfacePrefix,
	}
	for _, network := range l.networks {
		info.Networks = append(info.Networks, network.info())
	}
	return info, l.err
}

// Status returns the reason why pods of a runtime handler cannot be attached now, or nil. It runs
// no plugin: Run refreshes the results of CNI STATUS, which may be some seconds old. Status waits
// only for the first result after a change of the configuration, at most for firstStatusTimeout.
func (n *Network) Status(handler string) error {
	s := n.settings.Load()
	if _, err := s.ready(handler); err != nil {
		return err
	}
	h := s.conf(handler).current.Load().health
	if h == nil {
		return nil
	}
	h.requestRefresh(s.cni, n.outdated)
	select {
	case <-h.known:
		return h.last.Load().err
	case <-time.After(firstStatusTimeout):
		return fmt.Errorf("no answer to CNI STATUS yet for the networks in %s: %w", s.conf(handler).dir, errdefs.ErrUnavailable)
	}
}
