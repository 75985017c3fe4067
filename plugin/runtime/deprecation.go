// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
)

// Deprecations returns what containerd warns of: the message by the id of each
// feature in use that a later release will not have.
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
