// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"github.com/containerd/errdefs"
	"github.com/pelletier/go-toml/v2"

	"github.com/containerd-lite/containerd-lite/internal/shimoption"
)

// Handlers that exist without a config.toml, and their runtime types.
const (
	LiteHandler     = "lite"
	LiteRuntimeType = "io.containerd.lite.v2"
	RuncHandler     = "runc"
	RuncRuntimeType = "io.containerd.runc.v2"
)

const (
	sandboxerPod = "podsandbox"
	ioFIFO       = "fifo"
	ioStreaming  = "streaming"
)

// Options of runc's shims: the owner of the pipes of a container's stdio.
const (
	ioUID = "IoUid"
	ioGID = "IoGid"
)

// Handler is one table of containerd.runtimes: how to run the pods of a RuntimeClass with this
// handler.
type Handler struct {
	// Type is the runtime type, from which containerd derives the name of the shim binary.
	Type string `toml:"runtime_type" json:"runtimeType"`
	// Path is the absolute path of the shim binary. It overrides the binary that the type implies.
	Path string `toml:"runtime_path" json:"runtimePath"`
	// PodAnnotations are patterns (path.Match) of the pod annotations that are copied to the OCI
	// spec.
	PodAnnotations []string `toml:"pod_annotations" json:"PodAnnotations"`
	// ContainerAnnotations are patterns (path.Match) of the container annotations that are copied
	// to the OCI spec.
	ContainerAnnotations []string `toml:"container_annotations" json:"ContainerAnnotations"`
	// PrivilegedWithoutHostDevices gives privileged containers no devices of the host.
	PrivilegedWithoutHostDevices bool `toml:"privileged_without_host_devices" json:"privileged_without_host_devices"`
	// PrivilegedWithoutHostDevicesAllDevicesAllowed permits such containers to use any device that
	// they create.
	PrivilegedWithoutHostDevicesAllDevicesAllowed bool `toml:"privileged_without_host_devices_all_devices_allowed" json:"privileged_without_host_devices_all_devices_allowed"`
	// CgroupWritable mounts the cgroup file system read-write in unprivileged containers; cgroup v2
	// only.
	CgroupWritable bool `toml:"cgroup_writable" json:"cgroupWritable"`
	// BaseRuntimeSpec is a JSON file with the OCI spec on which the specs of containers are based;
	// see [Runtime.BaseSpecs].
	BaseRuntimeSpec string `toml:"base_runtime_spec" json:"baseRuntimeSpec"`
	// CNIConfDir replaces cni.conf_dir.
	CNIConfDir string `toml:"cni_conf_dir" json:"cniConfDir"`
	// CNIMaxConfNum replaces cni.max_conf_num if CNIConfDir is set.
	CNIMaxConfNum int `toml:"cni_max_conf_num" json:"cniMaxConfNum"`
	// Snapshotter replaces the images table's snapshotter.
	Snapshotter string `toml:"snapshotter" json:"snapshotter"`
	// Sandboxer is podsandbox (also when empty), or the name of the sandbox controller that creates
	// pods. Other values than podsandbox have no effect yet.
	Sandboxer string `toml:"sandboxer" json:"sandboxer"`
	// DisablePauseImagePull has no effect: no pause image is pulled for any handler.
	DisablePauseImagePull bool `toml:"disable_pause_image_pull" json:"disablePauseImagePull"`
	// IOType is how a shim gets stdio: fifo (also when empty) or streaming. streaming has no effect
	// yet.
	IOType string `toml:"io_type" json:"io_type"`
	// Options are the options of the shim; see [Handler.RuntimeOptions].
	Options map[string]any `toml:"options" json:"options"`
}

// defaultHandler returns the handler of a runc shim. It lists every option, so that "config
// default" prints them.
func defaultHandler(runtimeType string) Handler {
	h := Handler{
		Type:      runtimeType,
		Sandboxer: sandboxerPod,
		Options: map[string]any{
			"BinaryName":    "",
			"CriuImagePath": "",
			"CriuWorkPath":  "",
			ioGID:           int64(0),
			ioUID:           int64(0),
			"NoNewKeyring":  false,
			"Root":          "",
			"ShimCgroup":    "",
			"SystemdCgroup": false,
		},
	}
	if runtimeType == LiteRuntimeType {
		maps.Copy(h.Options, shimoption.Defaults())
	}
	return h
}

// Handler returns the handler of that name, and its name in the config. "" means the default
// handler.
//
// An unknown name is errdefs.ErrInvalidArgument: it is a mistake in the request. The kubelet would
// take NotFound to mean that the pod is gone.
func (r Runtime) Handler(name string) (string, Handler, error) {
	if name == "" {
		name = r.Containerd.DefaultRuntimeName
	}
	h, ok := r.Containerd.Runtimes[name]
	if !ok {
		return "", Handler{}, fmt.Errorf("runtime handler %q is not configured (configured: %s): %w",
			name, strings.Join(r.HandlerNames(), ", "), errdefs.ErrInvalidArgument)
	}
	return name, h, nil
}

// RuntimeType returns the runtime type of the handler of that name, or "" for an unknown one.
func (r Runtime) RuntimeType(name string) string { return r.Containerd.Runtimes[name].Type }

// HandlerNames returns the names of all handlers, sorted.
func (r Runtime) HandlerNames() []string {
	return slices.Sorted(maps.Keys(r.Containerd.Runtimes))
}

// IsRunc reports whether the handler's shim takes containerd.runc.v1.Options, that is, it runs runc
// or a compatible runtime.
func (h Handler) IsRunc() bool {
	return h.Type == RuncRuntimeType || h.Type == LiteRuntimeType
}

// WithIOOwner returns the handler with the owner of the pipes of a container's stdio set, if its
// shim is one of runc's. By default the pipes belong to root, and a container in a user namespace
// cannot open /dev/stdout.
func (h Handler) WithIOOwner(uid, gid uint32) Handler {
	if !h.IsRunc() {
		return h
	}
	options := maps.Clone(h.Options)
	maps.DeleteFunc(options, func(name string, _ any) bool {
		return strings.EqualFold(name, ioUID) || strings.EqualFold(name, ioGID)
	})
	if options == nil {
		options = make(map[string]any)
	}
	options[ioUID], options[ioGID] = int64(uid), int64(gid)
	h.Options = options
	return h
}

// RuntimeOptions returns the options message that the handler's shim expects, or nil if the handler
// has no options table: *runcoptions.Options for runc's shims, otherwise *runtimeoptions.Options.
// The ConfigBody of the latter is the whole table in TOML unless a ConfigPath is set. The lite shim
// gets *runtimeoptions.Options, too, if one of its own options is not the default, because runc's
// options have no field for it. Names of options ignore case, as in containerd.
//
// For runc's shims an unknown option is an error that names it, unless its value is empty: older
// releases of containerd printed options into their default config that no longer exist.
func (h Handler) RuntimeOptions() (any, error) {
	if h.Options == nil {
		return nil, nil
	}
	if !h.IsRunc() {
		return h.genericOptions()
	}
	opts, err := h.decodeOptions()
	switch {
	case err != nil:
		return nil, fmt.Errorf("options of %s: %w", h.Type, err)
	case opts.Own == shimoption.Default():
		return opts.runcOptions, nil
	}
	h.Options = maps.Clone(h.Options)
	maps.DeleteFunc(h.Options, func(_ string, v any) bool { return isEmpty(v) })
	return h.genericOptions()
}

func (h Handler) genericOptions() (*runtimeoptions.Options, error) {
	body, err := toml.Marshal(h.Options)
	if err != nil {
		return nil, fmt.Errorf("options of %s: encode: %w", h.Type, err)
	}
	opts := &runtimeoptions.Options{}
	if err := toml.Unmarshal(body, opts); err != nil {
		return nil, fmt.Errorf("options of %s: %w", h.Type, err)
	}
	if opts.ConfigPath == "" {
		opts.ConfigBody = body
	}
	return opts, nil
}

type runcOptions = runcoptions.Options

// shimOptions are the options of a shim of runc.
type shimOptions struct {
	*runcOptions
	shimoption.Own // of the lite shim; the defaults for another one
}

// decodeOptions decodes the options of a shim of runc. The error may be an unknownOptions.
func (h Handler) decodeOptions() (shimOptions, error) {
	opts := shimOptions{&runcOptions{}, shimoption.Default()}
	body, err := toml.Marshal(h.Options)
	if err != nil {
		return opts, fmt.Errorf("encode: %w", err)
	}
	if h.Type == LiteRuntimeType {
		err = shimoption.Decode(body, &opts)
	} else {
		err = shimoption.Decode(body, opts.runcOptions)
	}
	var missing *toml.StrictMissingError
	if !errors.As(err, &missing) {
		return opts, err
	}
	if unknown := h.unknownIn(missing); len(unknown) > 0 {
		return opts, unknown
	}
	return opts, nil
}

// ShimKey returns the same text for handlers with the same shim and the same options. Such handlers
// have the same features.
func (h Handler) ShimKey() string { return fmt.Sprint(h.Type, " ", h.Path, " ", h.Options) }

// SharesShim reports whether a shim of the handler may have more than one pod.
func (h Handler) SharesShim() bool {
	if h.Type != LiteRuntimeType {
		return false
	}
	opts, err := h.decodeOptions()
	return err == nil && opts.Sharing.Shared()
}

// PlainShim reports whether the shim of a pod is the lite shim, found by its runtime type, with
// nothing to set when it is started: it serves one pod and stays in the daemon's cgroup.
func (h Handler) PlainShim() bool {
	if h.Type != LiteRuntimeType || h.Path != "" {
		return false
	}
	opts, err := h.decodeOptions()
	return err == nil && !opts.Sharing.Shared() && opts.GetShimCgroup() == ""
}

// unknownOptions are the names of options that a shim of runc does not have and whose values are
// not empty.
type unknownOptions []string

func (u unknownOptions) Error() string {
	return strings.Join(u, ", ") + ": no such option: " + u.Unwrap().Error()
}

func (u unknownOptions) Unwrap() error { return errdefs.ErrInvalidArgument }

func (h Handler) unknownIn(missing *toml.StrictMissingError) (unknown unknownOptions) {
	for _, e := range missing.Errors {
		name := e.Key()[0]
		if !isEmpty(h.Options[name]) && !slices.Contains(unknown, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// SystemdCgroup reports whether the cgroups of the handler's containers are systemd scopes, which
// the CRI calls the systemd cgroup driver. It is false for shims that are not of runc.
func (h Handler) SystemdCgroup() bool {
	if !h.IsRunc() {
		return false
	}
	opts, err := h.decodeOptions()
	return err == nil && opts.GetSystemdCgroup()
}

// Program returns the program of the OCI runtime of a handler whose shim is of runc.
func (h Handler) Program() string {
	opts, err := h.decodeOptions()
	if err != nil || opts.GetBinaryName() == "" {
		return RuncHandler
	}
	return opts.GetBinaryName()
}

// CgroupDriver returns the cgroup driver that the kubelet has to use (KEP-4033). It is that of the
// default handler or, if the default handler's shim is not of runc and its driver is not known,
// that of the first other handler by name. others are the handlers with the other driver. known is
// false if no handler's driver is known.
func (r Runtime) CgroupDriver() (systemd, known bool, others []string) {
	names := slices.Insert(r.HandlerNames(), 0, r.Containerd.DefaultRuntimeName)
	for _, name := range names {
		h, ok := r.Containerd.Runtimes[name]
		switch {
		case !ok || !h.IsRunc():
		case !known:
			systemd, known = h.SystemdCgroup(), true
		case h.SystemdCgroup() != systemd:
			others = append(others, name)
		}
	}
	return systemd, known, others
}

// isEmpty reports whether a decoded TOML value is the zero value of its type, or a table of such
// values. An empty key requests nothing.
func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		for _, child := range v {
			if !isEmpty(child) {
				return false
			}
		}
		return true
	case []any:
		return len(v) == 0
	}
	return reflect.ValueOf(v).IsZero()
}
