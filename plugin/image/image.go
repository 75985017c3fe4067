// SPDX-License-Identifier: Apache-2.0

package image

import (
	"math"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/client"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Image is the state of one image. It is shared and immutable: callers must not change it or
// anything it points to.
type Image struct {
	// ID is the digest of the image's config. It is the image_id of containers, and the result of
	// PullImage.
	ID string
	// Target is the manifest or index that the image records point to.
	Target ocispec.Descriptor
	// ChainID is the key of the committed snapshot with the root file system; empty for an image
	// without layers.
	ChainID digest.Digest
	// Size is in bytes, as containerd counts it: index, manifest, config and compressed layers.
	Size int64
	// Spec is the image's config.
	Spec ocispec.Image
	// Annotations are those of the manifest; nil if they exceed maxAnnotations.
	Annotations map[string]string

	// Names are the names of the image's records in containerd, sorted: its id, tags and digests.
	Names []string
	// Tags are the Names of the form repo:tag, Digests those of the form repo@digest.
	Tags, Digests []string
	// Pinned images are excluded from the kubelet's garbage collection.
	Pinned bool
	// Handle is the image of containerd's client, for unpacking and for creating snapshots. Only
	// Resolve sets it.
	Handle client.Image
}

// Name returns the name to display: a tag, else a digest, else the id.
func (i *Image) Name() string {
	switch {
	case len(i.Tags) > 0:
		return i.Tags[0]
	case len(i.Digests) > 0:
		return i.Digests[0]
	default:
		return i.ID
	}
}

// User splits the user of the image's config into uid and name for the kubelet, which enforces
// runAsNonRoot by comparing uid with 0. Only a decimal uid in the kernel's range is returned as
// uid; a uid above 0 may have leading zeros. Any other value ("+0", "00", "4294967296") is returned
// as username, and the kubelet never accepts a username as non-root (CVE-2024-40635,
// CVE-2026-46680).
func (i *Image) User() (uid *int64, username string) {
	user, _, _ := strings.Cut(i.Spec.Config.User, ":")
	if user == "" {
		return nil, ""
	}
	n, err := strconv.ParseInt(user, 10, 64)
	digits := user
	if n != 0 {
		digits = strings.TrimLeft(user, "0")
	}
	if err != nil || n < 0 || n > math.MaxInt32 || strconv.FormatInt(n, 10) != digits {
		return nil, user
	}
	return &n, ""
}

// encode returns the image as the CRI message.
func (i *Image) encode() *runtimeapi.Image {
	out := &runtimeapi.Image{
		Id:          i.ID,
		RepoTags:    i.Tags,
		RepoDigests: i.Digests,
		Size:        uint64(i.Size),
		Spec:        &runtimeapi.ImageSpec{Image: i.ID, Annotations: i.Annotations},
		Pinned:      i.Pinned,
	}
	uid, username := i.User()
	if uid != nil {
		out.Uid = &runtimeapi.Int64Value{Value: *uid}
	}
	out.Username = username
	return out
}
