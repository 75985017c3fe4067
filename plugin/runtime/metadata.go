// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"bytes"
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/metadata/boltutil"
	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/types/known/anypb"
)

// metadataDB is containerd's metadata in this process. It makes several changes in one transaction:
// each commit waits for the disk.
type metadataDB struct {
	db         *metadata.DB
	containers containers.Store
	sandboxes  sandbox.Store
}

func newMetadataDB(db *metadata.DB) metadataDB {
	return metadataDB{db: db, containers: metadata.NewContainerStore(db), sandboxes: metadata.NewSandboxStore(db)}
}

// update calls change with a context in which all changes are one transaction. If change returns an
// error, nothing changes.
func (m metadataDB) update(ctx context.Context, change func(ctx context.Context) error) error {
	return m.db.Update(func(tx *bbolt.Tx) error { return change(boltutil.WithTransaction(ctx, tx)) })
}

// setSandboxer creates the sandbox of an earlier release again, because its sandbox controller is
// one that containerd does not have, and cannot be changed.
func (m metadataDB) setSandboxer(ctx context.Context, id string) error {
	s, err := m.sandboxes.Get(ctx, id)
	if err != nil || s.Sandboxer == PodSandboxer {
		return err
	}
	if err := m.sandboxes.Delete(ctx, id); err != nil {
		return fmt.Errorf("sandbox of an earlier release: %w", err)
	}
	s.Sandboxer = PodSandboxer
	if _, err := m.sandboxes.Create(ctx, s); err != nil {
		return fmt.Errorf("sandbox of an earlier release: %w", err)
	}
	return nil
}

// saveBuiltIn saves the metadata for the built-in CRI in the container of a pod's task. It does
// nothing if the container does not exist or has it.
func (m metadataDB) saveBuiltIn(ctx context.Context, id string, builtIn []byte) error {
	name := builtInExtensions[KindPod]
	info, err := m.containers.Get(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("container of pod %s: %w", id, err)
	}
	if has := info.Extensions[name]; has != nil && bytes.Equal(has.GetValue(), builtIn) {
		return nil
	}
	_, err = m.containers.Update(ctx, containers.Container{
		ID: id, Extensions: map[string]typeurl.Any{name: &anypb.Any{TypeUrl: builtInTypes[KindPod], Value: builtIn}},
	}, "extensions."+name)
	if err != nil {
		return fmt.Errorf("container of pod %s: save metadata for the built-in CRI: %w", id, err)
	}
	return nil
}
