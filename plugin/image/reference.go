// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// parsePullable normalises the reference of an image to pull as Docker does:
// "busybox" is docker.io/library/busybox:latest, and where there are both tag
// and digest, the tag is dropped. An image id says nothing of where to pull from.
func parsePullable(ref string) (reference.Named, error) {
	if _, err := digest.Parse(ref); err == nil {
		return nil, fmt.Errorf("image %q: an image id cannot be pulled, name its repository: %w", ref, errdefs.ErrInvalidArgument)
	}
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return nil, fmt.Errorf("image %q: reference: %w: %w", WithoutPassword(ref), err, errdefs.ErrInvalidArgument)
	}
	return named, nil
}

// WithoutPassword returns a reference as it can be shown: what stands before an @ may be a password
// (https://user:password@host/name), unless a digest follows.
func WithoutPassword(ref string) string {
	at := strings.LastIndexByte(ref, '@')
	if at < 0 || !strings.Contains(ref[:at], ":") || strings.HasPrefix(ref[at:], "@sha") {
		return ref
	}
	return "…" + ref[at:]
}

// recordNames returns the names under which a pulled image is recorded, its id
// first so that no tag is ever seen before it, as containerd's own CRI does.
func recordNames(named reference.Named, id string, target digest.Digest) []string {
	if _, ok := named.(reference.Canonical); ok {
		return []string{id, named.String()}
	}
	return []string{id, named.Name() + "@" + target.String(), named.String()}
}

// splitNames returns those of an image's names that are repo:tag and repo@digest.
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

// idPrefix returns the hexadecimal part of what may be an image id or the start
// of one, with or without "sha256:".
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
