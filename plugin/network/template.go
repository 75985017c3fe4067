// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containernetworking/cni/libcni"

	"github.com/containerd-lite/containerd-lite/plugin/metrics"
)

// templateConf is the file name of a configuration made from the template. The built-in CRI and
// installation guides use the same name.
const templateConf = "10-containerd-net.conflist"

// templateValues are the variables of the template, with the names that the built-in CRI uses.
type templateValues struct {
	PodCIDR       string   // the first
	PodCIDRRanges []string // all
	Routes        []string // a default route per address family
}

// UsePodCIDRs makes a CNI configuration from Options.ConfTemplate for the pod CIDRs of the node,
// which are separated by commas. It does nothing without a template, without CIDRs, or if the
// directory has any configuration, which belongs to the administrator or another component or was
// made earlier.
//
// An invalid CIDR is ErrInvalidArgument; a template that yields no CNI configuration is
// ErrFailedPrecondition.
func (n *Network) UsePodCIDRs(ctx context.Context, cidrs string) error {
	if strings.TrimSpace(cidrs) == "" {
		return nil
	}
	values, err := newTemplateValues(cidrs)
	if err != nil {
		return err
	}
	opts := n.settings.Load().opts
	if opts.ConfTemplate == "" {
		return nil
	}
	// Look at the directory: the loaded configuration lacks files that cannot be used.
	start := time.Now()
	present, err := libcni.ConfFiles(opts.ConfDir, confExtensions)
	metrics.CountNetwork(metrics.NetworkStatus, start, err)
	if err != nil {
		return fmt.Errorf("CNI config directory %s: %w", opts.ConfDir, err)
	}
	if len(present) > 0 {
		return nil
	}
	conf, err := values.execute(opts.ConfTemplate)
	if err != nil {
		return fmt.Errorf("CNI template %s (cni.conf_template): %w: %w", opts.ConfTemplate, err, errdefs.ErrFailedPrecondition)
	}
	made, err := addFile(opts.ConfDir, templateConf, conf)
	if err != nil {
		return fmt.Errorf("CNI config from template: %w", err)
	}
	if made {
		log.G(ctx).WithField("cidrs", values.PodCIDRRanges).Infof("created CNI config %s in %s from cni.conf_template", templateConf, opts.ConfDir)
	}
	return nil
}

func newTemplateValues(cidrs string) (templateValues, error) {
	var v templateValues
	for text := range strings.SplitSeq(cidrs, ",") {
		text = strings.TrimSpace(text)
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return templateValues{}, fmt.Errorf("pod CIDR %q: %w: %w", text, err, errdefs.ErrInvalidArgument)
		}
		route := "0.0.0.0/0"
		if prefix.Addr().Is6() {
			route = "::/0"
		}
		v.PodCIDRRanges = append(v.PodCIDRRanges, text)
		if !slices.Contains(v.Routes, route) {
			v.Routes = append(v.Routes, route)
		}
	}
	slices.Sort(v.Routes) // 0.0.0.0/0 first
	v.PodCIDR = v.PodCIDRRanges[0]
	return v, nil
}

func (v templateValues) execute(file string) ([]byte, error) {
	t, err := template.ParseFiles(file)
	if err != nil {
		return nil, err
	}
	var conf bytes.Buffer
	if err := t.Execute(&conf, v); err != nil {
		return nil, err
	}
	if _, err := libcni.NetworkConfFromBytes(conf.Bytes()); err != nil {
		return nil, err
	}
	return conf.Bytes(), nil
}

// addFile atomically creates a file with content and reports whether it did. It does not replace an
// existing file.
func addFile(dir, name string, content []byte) (made bool, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, err
	}
	f, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return false, err
	}
	err = os.Link(f.Name(), filepath.Join(dir, name))
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}
