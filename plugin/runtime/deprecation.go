// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
)

// Deprecations returns containerd's deprecation warnings for features in use: message by ID.
func (c *Client) Deprecations(ctx context.Context) (map[string]string, error) {
	server, err := c.containerd.IntrospectionService().Server(ctx)
	if err != nil {
		return nil, fmt.Errorf("deprecation warnings of containerd: %w", err)
	}
	messages := map[string]string{}
	for _, d := range server.Deprecations {
		messages[d.ID] = d.Message
	}
	return messages, nil
}
