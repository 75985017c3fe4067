// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// parsePullable normalises the reference of an image to pull as Docker does: "busybox" becomes
// docker.io/library/busybox:latest, and the tag of a reference with tag and digest is dropped. An
// image id is refused, because it has no repository to pull from.
func parsePullable(ref string) (reference.Named, error) {
	if _, err := digest.Parse(ref); err == nil {
		return nil, fmt.Errorf("image %q: an image id cannot be pulled (give its repository): %w", ref, errdefs.ErrInvalidArgument)
	}
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return nil, fmt.Errorf("image %q: reference: %w: %w", WithoutPassword(ref), err, errdefs.ErrInvalidArgument)
	}
	return named, nil
}

// WithoutPassword returns a reference that is safe to show. The text before an @ may contain a
// password (https://user:password@host/name), so it is cut off unless a digest follows the @.
func WithoutPassword(ref string) string {
	at := strings.LastIndexByte(ref, '@')
	if at < 0 || !strings.Contains(ref[:at], ":") || strings.HasPrefix(ref[at:], "@sha") {
		return ref
	}
	return "…" + ref[at:]
}

// recordNames returns the names of the records of a pulled image. The id comes first, as in the
// built-in CRI, so that a tag is never visible without it.
func recordNames(named reference.Named, id string, target digest.Digest) []string {
	if _, ok := named.(reference.Canonical); ok {
		return []string{id, named.String()}
	}
	return []string{id, named.Name() + "@" + target.String(), named.String()}
}

// splitNames returns the names of the form repo:tag and of the form repo@digest.
func splitNames(names []string) (tags, digests []string) {
	for _, name := range names {
		parsed, err := reference.ParseAnyReference(name)
		if err != nil {
			continue
		}
		if _, ok := parsed.(reference.Canonical); ok {
			digests = append(digests, parsed.String())
		} else if _, ok := parsed.(reference.Tagged); ok {
			tags = append(tags, parsed.String())
		}
	}
	return tags, digests
}

// idPrefix returns the hexadecimal digits of a possible image id or prefix of one, with or without
// "sha256:".
func idPrefix(ref string) (string, bool) {
	hex := strings.TrimPrefix(ref, digest.SHA256.String()+":")
	if hex == "" || strings.Trim(hex, "0123456789abcdef") != "" {
		return "", false
	}
	return hex, true
}

// pinnedNames returns the normalised names of the references to pin.
func pinnedNames(refs []string) map[string]bool {
	names := make(map[string]bool, len(refs))
	for _, ref := range refs {
		if named, err := reference.ParseDockerRef(ref); err == nil {
			ref = named.String()
		}
		names[ref] = true
	}
	return names
}
