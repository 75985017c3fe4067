// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"errors"
	"fmt"
)

// errNoResult is returned for a guest that ended before its program did: the guest crashed, or was
// shut down from inside.
var errNoResult = errors.New("the guest ended without a result")

// parseResult returns the exit code that the guest wrote.
func parseResult(text string) (int, error) {
	if text == "" {
		return 0, errNoResult
	}
	var code int
	if _, err := fmt.Sscanf(text, "exit %d\n", &code); err != nil {
		return 0, fmt.Errorf("guest result %q: %w", text, err)
	}
	return code, nil
}
