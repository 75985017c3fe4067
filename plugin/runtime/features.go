// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/log"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// featuresTimeout bounds how long a shim may take to report its features. It must end the wait for
// a stuck shim, but not for a slow one on a node that boots: the kubelet refuses pods that need
// unknown features until a reload of the config.
const featuresTimeout = time.Minute

// Features asks the shim of each handler for the features of its OCI runtime, and returns them by
// handler; nil if they are unknown. It asks all in parallel, because each answer takes two
// processes and the daemon serves only after the last. Equal handlers share an answer. A shim that
// does not answer, or is not installed, does not prevent the start.
func (c *Client) Features(ctx context.Context, r config.Runtime) map[string]*features.Features {
	return readFeatures(ctx, r, c.shimFeatures)
}

// featuresFunc returns the features that the shim of a handler reports.
type featuresFunc func(ctx context.Context, handler config.Handler) (*features.Features, error)

func readFeatures(ctx context.Context, r config.Runtime, read featuresFunc) map[string]*features.Features {
	found := map[string]*features.Features{}
	var mu sync.Mutex // guards found
	var all sync.WaitGroup
	for _, names := range equalHandlers(r) {
		guard.Go(ctx, &all, "read features", func() {
			answer, err := guard.Value(ctx, "features", func() (*features.Features, error) {
				_, handler, err := r.Handler(names[0])
				if err != nil {
					return nil, err
				}
				return read(ctx, handler)
			})
			mu.Lock()
			defer mu.Unlock()
			for _, name := range names {
				found[name] = answer
				if err != nil {
					log.G(ctx).WithError(err).WithField("handler", name).Warn("features of the runtime handler are unknown; the kubelet refuses pods that need them until `containerd-lite config reload`")
				}
			}
		})
	}
	all.Wait()
	return found
}

// equalHandlers returns the names of the handlers, those of equal handlers together.
func equalHandlers(r config.Runtime) map[string][]string {
	equal := map[string][]string{}
	for _, name := range r.HandlerNames() {
		if _, handler, err := r.Handler(name); err == nil {
			equal[handler.ShimKey()] = append(equal[handler.ShimKey()], name)
		}
	}
	return equal
}

// shimFeatures returns the features of the OCI runtime behind a shim, as the shim's command -info
// prints them.
func (c *Client) shimFeatures(ctx context.Context, handler config.Handler) (*features.Features, error) {
	ctx, cancel := context.WithTimeout(ctx, featuresTimeout)
	defer cancel()
	options, err := handler.RuntimeOptions()
	if err != nil {
		return nil, err
	}
	encoded, err := encodeOptions(options)
	if err != nil {
		return nil, err
	}
	shim := cmp.Or(handler.Path, handler.Type)
	request := &types.RuntimeRequest{RuntimePath: shim}
	if encoded != nil {
		request.Options = typeurl.MarshalProto(encoded)
	}
	answer, err := c.containerd.IntrospectionService().PluginInfo(ctx, "io.containerd.runtime.v2", "task", request)
	if err != nil {
		return nil, fmt.Errorf("run shim %s -info: %w", shim, err)
	}
	info := new(types.RuntimeInfo)
	if err := typeurl.UnmarshalTo(answer.GetExtra(), info); err != nil {
		return nil, fmt.Errorf("info of shim %s: %w", shim, err)
	}
	found := new(features.Features)
	if err := typeurl.UnmarshalTo(info.GetFeatures(), found); err != nil {
		return nil, fmt.Errorf("features of shim %s: %w", shim, err)
	}
	return found, nil
}
