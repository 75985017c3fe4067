// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	gocni "github.com/containerd/go-cni"
	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/fsnotify/fsnotify"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// Options of a Network: the keys of the table cni in the configuration.
type Options struct {
	BinDirs    []string // where CNI plugins are looked for, in this order
	ConfDir    string
	MaxConfNum int // networks to attach from ConfDir; 0 is all
	// ConfTemplate is a file that UsePodCIDRs makes a configuration from.
	ConfTemplate string
	// Handlers are the configurations of runtime handlers that have their own.
	Handlers map[string]HandlerConf

	SetupSerially bool   // attach one network after the other
	IPPref        string // the pod's first address: ipv4 (also ""), ipv6, cni (as reported)
}

// HandlerConf is the CNI configuration of one runtime handler.
type HandlerConf struct {
	ConfDir    string
	MaxConfNum int // 0 takes that of Options
}

// Network attaches pods to networks with CNI plugins. It uses libcni and takes
// from go-cni the form of results only: libcni is what can end a hanging
// plugin, ask for the status within a time limit, and detach with the
// configuration of then when there is another one now.
type Network struct {
	opts     Options
	cni      *libcni.CNIConfig
	exec     *pluginExec
	confs    map[string]*conf // by handler; "" is the default; the map never changes
	outdated chan *health     // to be asked again by Run

	pollInterval time.Duration
	newInotify   func() (*fsnotify.Watcher, error)
}

// New loads the CNI configurations. What is wrong with them is told by Status
// and Attach, since it may be mended at any time.
func New(opts Options) *Network {
	exec := &pluginExec{}
	n := &Network{
		opts:     opts,
		cni:      libcni.NewCNIConfig(opts.BinDirs, exec),
		exec:     exec,
		confs:    map[string]*conf{"": {dir: opts.ConfDir, max: opts.MaxConfNum}},
		outdated: make(chan *health, 2*(1+len(opts.Handlers))),

		pollInterval: pollInterval,
		newInotify:   fsnotify.NewWatcher,
	}
	for name, h := range opts.Handlers {
		c := &conf{dir: h.ConfDir, max: h.MaxConfNum}
		if c.max == 0 {
			c.max = opts.MaxConfNum
		}
		n.confs[name] = c
	}
	for _, c := range n.confs {
		c.load()
	}
	return n
}

func (n *Network) conf(handler string) *conf {
	if c, ok := n.confs[handler]; ok {
		return c
	}
	return n.confs[""]
}

// Check says whether a pod can have what is asked for it, before anything is made: parameters that
// are its own, and for a network of its own values that CNI plugins understand. Errors are
// errdefs.ErrInvalidArgument.
func Check(pod Pod, pin PinOptions) error {
	if _, err := parseSysctls(pin.Sysctls, pin.cloneFlags()); err != nil || !pin.Net {
		return err
	}
	_, err := pod.runtimeConf()
	return err
}

// Attach runs CNI ADD for every network of the pod's handler and returns the addresses the pod got.
// It ends with ctx, which kills running plugins. Plugins may have done part of their work when it
// fails: the caller runs Detach.
//
// A missing or broken configuration and a missing plugin are
// errdefs.ErrFailedPrecondition, bad values of the pod ErrInvalidArgument.
func (n *Network) Attach(ctx context.Context, pod Pod) (Result, error) {
	rt, err := pod.runtimeConf()
	if err != nil {
		return Result{}, err
	}
	networks, err := n.ready(pod.Handler)
	if err != nil {
		return Result{}, err
	}
	return guard.Value(ctx, "CNI ADD", func() (Result, error) { return n.add(ctx, networks, rt) })
}

// ready returns the networks of the handler if pods can be attached to them.
func (n *Network) ready(handler string) ([]network, error) {
	l := n.conf(handler).current.Load()
	if l.err != nil {
		return nil, l.err
	}
	for _, network := range l.networks {
		for _, p := range network.list.Plugins {
			if _, err := n.exec.FindInPath(p.Network.Type, n.opts.BinDirs); err != nil {
				return nil, fmt.Errorf("CNI network %q: %w", network.list.Name, err)
			}
		}
	}
	return l.networks, nil
}

func (n *Network) add(ctx context.Context, networks []network, rt libcni.RuntimeConf) (Result, error) {
	results := make([]*types100.Result, len(networks))
	errs := make([]error, len(networks))
	addOne := func(i int) {
		var err error
		if results[i], err = n.addOne(ctx, networks[i], rt); err != nil {
			errs[i] = fmt.Errorf("CNI network %q: %w", networks[i].list.Name, err)
		}
	}
	var wg sync.WaitGroup
	for i := range networks {
		if !n.opts.SetupSerially {
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
	return newResult(results, n.opts.IPPref)
}

// addOne runs CNI ADD for one network. The answer of a plugin that libcni panics on is an error.
func (n *Network) addOne(ctx context.Context, network network, rt libcni.RuntimeConf) (*types100.Result, error) {
	return guard.Value(ctx, "CNI ADD", func() (*types100.Result, error) {
		r, err := n.cni.AddNetworkList(ctx, network.list, network.on(rt))
		if err != nil {
			return nil, err
		}
		return types100.NewResultFromResult(r)
	})
}

// Detach runs CNI DEL for every network the pod is attached to, and takes a
// network namespace that is gone for detached already. It goes by what libcni
// noted at ADD, so it works also after the configuration was changed or
// removed. Networks without a note, where ADD was cut off, are detached by
// the configuration of now. A pod that was never attached is no error.
func (n *Network) Detach(ctx context.Context, pod Pod) error {
	// A value that is bad now is not worth keeping the pod's addresses for.
	rt, _ := pod.runtimeConf()
	if !IsPinned(rt.NetNS) {
		rt.NetNS = ""
	}
	noted, err := n.cni.GetCachedAttachments(pod.ID)
	if err != nil {
		return fmt.Errorf("CNI cache: %w", err)
	}
	return n.del(ctx, attached(noted, n.conf(pod.Handler).current.Load().networks), rt)
}

// Attached returns the path of the network namespace of everything that libcni has a
// note of, by its id: of our pods, and of what others have attached on this machine.
func (n *Network) Attached() (map[string]string, error) {
	noted, err := n.cni.GetCachedAttachments("")
	if err != nil {
		return nil, fmt.Errorf("CNI cache: %w", err)
	}
	attached := make(map[string]string, len(noted))
	for _, a := range noted {
		attached[a.ContainerID] = a.NetNS
	}
	return attached, nil
}

// attached returns the networks to detach, each with its note: the noted ones, in
// the form in which they are loaded where that is the same, and the loaded ones for
// interfaces of which there is no note.
func attached(noted []*libcni.NetworkAttachment, loaded []network) []network {
	notes := make(map[string]*libcni.NetworkAttachment, len(noted))
	for _, a := range noted {
		notes[a.IfName] = a
	}
	var all []network
	for _, l := range loaded {
		note, ok := notes[l.ifName]
		if ok && (note.Network != l.list.Name || string(note.Config) != string(l.list.Bytes)) {
			continue
		}
		l.note = note
		all = append(all, l)
		delete(notes, l.ifName)
	}
	for _, a := range noted {
		if _, ok := notes[a.IfName]; !ok {
			continue
		}
		list, err := libcni.NetworkConfFromBytes(a.Config)
		if err != nil {
			continue // not written by libcni; there is nothing to detach with
		}
		all = append(all, network{ifName: a.IfName, list: list, note: a})
	}
	return all
}

// del detaches all networks, the last first, and goes on after an error.
func (n *Network) del(ctx context.Context, networks []network, rt libcni.RuntimeConf) error {
	var errs []error
	for i := len(networks) - 1; i >= 0; i-- {
		network := networks[i]
		// The result of an older ADD, which libcni has kept, may be worse than those that Attach
		// takes.
		err := guard.Call(ctx, "CNI DEL", func() error { return n.cni.DelNetworkList(ctx, network.list, network.on(rt)) })
		var cniErr *types.Error
		if errors.As(err, &cniErr) && cniErr.Code == types.ErrUnknownContainer {
			continue // the plugin knows nothing of the pod
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("CNI network %q: %w", network.list.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Info returns the configuration of a runtime handler for people to look at,
// in the form known from "crictl info", and what is wrong with it.
func (n *Network) Info(handler string) (*gocni.ConfigResult, error) {
	c := n.conf(handler)
	l := c.current.Load()
	info := &gocni.ConfigResult{
		PluginDirs:       n.opts.BinDirs,
		PluginConfDir:    c.dir,
		PluginMaxConfNum: c.max,
		Prefix:           interfacePrefix,
	}
	for _, network := range l.networks {
		info.Networks = append(info.Networks, network.info())
	}
	return info, l.err
}

// Status tells why the pods of a runtime handler cannot be attached now, nil
// if they can. It runs no plugin and does not wait for one, except that the
// first answer after a change of the configuration may take two seconds; what
// plugins say (CNI STATUS) is asked by Run and may be some seconds old.
func (n *Network) Status(handler string) error {
	if _, err := n.ready(handler); err != nil {
		return err
	}
	h := n.conf(handler).current.Load().health
	if h == nil {
		return nil
	}
	h.renew(n.outdated)
	select {
	case <-h.known:
		return h.last.Load().err
	case <-time.After(firstStatusTimeout):
		return fmt.Errorf("CNI plugins in %s have not told their status yet: %w", n.conf(handler).dir, errdefs.ErrUnavailable)
	}
}
