// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/log"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	// capacity bounds the queue, in events of about 300 bytes.
	capacity = 2048

	connectTimeout   = 5 * time.Second
	sendTimeout      = 5 * time.Second
	minRetryInterval = 50 * time.Millisecond
	maxRetryInterval = 5 * time.Second

	// maxRefusals is how often containerd may answer an event with an error before the event is
	// dropped, so that one invalid event does not block the others.
	maxRefusals = 5

	// idleTimeout is how long the connection stays open without events.
	idleTimeout = 10 * time.Second
)

// Outbox queues and sends the events of one containerd namespace.
type Outbox struct {
	namespace string
	sender    sender // used by Run only

	minSubscriberWait time.Duration

	mu             sync.Mutex
	queue          []*types.Envelope
	dropped        int
	disconnectedAt time.Time // see Disconnected

	flushing  chan struct{} // closed by the first Flush
	flushOnce sync.Once
	ready     chan struct{}
	empty     chan struct{} // closed and replaced when the queue becomes empty
}

// New returns an empty Outbox for the ttrpc socket of containerd, which may not exist yet. Nothing
// is sent until Run is called.
func New(namespace, address string) *Outbox {
	return &Outbox{
		namespace:         namespace,
		sender:            sender{path: strings.TrimPrefix(address, "unix://")},
		minSubscriberWait: minSubscriberWait,
		flushing:          make(chan struct{}),
		ready:             make(chan struct{}, 1),
		empty:             make(chan struct{}),
	}
}

// Put queues an event with the current time.
func (o *Outbox) Put(event proto.Message) {
	topic := topicOf(event)
	value, err := proto.Marshal(event)
	if err != nil || topic == "" {
		log.L.WithError(err).Errorf("event %T not encoded; dropped", event)
		return
	}
	envelope := &types.Envelope{
		Timestamp: timestamppb.Now(),
		Namespace: o.namespace,
		Topic:     topic,
		// typeurl writes and reads the message's name without a host.
		Event: &anypb.Any{TypeUrl: string(event.ProtoReflect().Descriptor().FullName()), Value: value},
	}
	o.enqueue(envelope)
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

func (o *Outbox) enqueue(e *types.Envelope) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) >= capacity {
		o.dropOneLocked()
	}
	o.queue = append(o.queue, e)
}

// Len returns the number of queued events.
func (o *Outbox) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.queue)
}

// Flush waits until the queue is empty or ctx ends. After the first Flush, events are no longer
// held for subscribers.
func (o *Outbox) Flush(ctx context.Context) error {
	o.flushOnce.Do(func() { close(o.flushing) })
	o.mu.Lock()
	n, empty := len(o.queue), o.empty
	o.mu.Unlock()
	if n == 0 {
		return nil
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run sends events until ctx ends.
func (o *Outbox) Run(ctx context.Context) {
	defer o.sender.close()
	for {
		for e := o.head(); e != nil; e = o.head() {
			if !o.deliver(ctx, e) {
				return
			}
			o.remove(e)
		}
		select {
		case <-o.ready:
		case <-time.After(idleTimeout):
			o.sender.close()
			select {
			case <-o.ready:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// deliver returns true when e is sent or dropped, and false if ctx ended.
func (o *Outbox) deliver(ctx context.Context, e *types.Envelope) bool {
	pause := minRetryInterval
	for refusals := 0; refusals < maxRefusals; {
		err := o.attempt(ctx, e)
		if err == nil {
			return true
		}
		if errors.Is(err, errRefused) {
			refusals++
		}
		log.L.WithError(err).WithField("topic", e.Topic).Debug("event not delivered; will retry")
		select {
		case <-time.After(pause):
			pause = min(2*pause, maxRetryInterval)
		case <-ctx.Done():
			return false
		}
	}
	log.L.WithField("topic", e.Topic).Error("event rejected by containerd; dropped")
	return true
}

// attempt sends e once. It connects before it waits for subscribers. In the other order, a
// containerd that starts between the two steps would get the event before its subscribers have
// reconnected.
func (o *Outbox) attempt(ctx context.Context, e *types.Envelope) error {
	if err := o.sender.connect(ctx); err != nil {
		return err
	}
	if err := o.awaitSubscribers(ctx); err != nil {
		return err
	}
	return o.sender.send(ctx, e)
}

func (o *Outbox) head() *types.Envelope {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		return nil
	}
	return o.queue[0]
}

// remove removes e from the head of the queue, if it was not dropped while it was being sent.
func (o *Outbox) remove(e *types.Envelope) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) > 0 && o.queue[0] == e {
		o.queue[0] = nil
		o.queue = o.queue[1:]
	}
	if len(o.queue) == 0 {
		o.queue = nil
		close(o.empty)
		o.empty = make(chan struct{})
	}
}

// dropOneLocked removes the oldest event without an end topic, or the oldest if all have one.
// Subscribers that miss a start see it in the state of the task, but do not look for an exit again.
func (o *Outbox) dropOneLocked() {
	i := slices.IndexFunc(o.queue, func(e *types.Envelope) bool { return !isEndTopic(e.Topic) })
	o.queue = slices.Delete(o.queue, max(i, 0), max(i, 0)+1)
	o.dropped++
	if o.dropped&(o.dropped-1) == 0 { // at 1, 2, 4, …, to bound the log
		log.L.WithField("dropped", o.dropped).Warn("event queue full; dropping events until containerd accepts them")
	}
}

// isEndTopic reports whether a topic is that of exits, deletions or out-of-memory kills.
func isEndTopic(topic string) bool {
	return topic == topicExit || topic == topicDelete || topic == topicOOM
}

const (
	topicExit   = "/tasks/exit"
	topicDelete = "/tasks/delete"
	topicOOM    = "/tasks/oom"
)

// topicOf returns the topic under which containerd publishes an event
// (core/runtime/events.go), or "" for a message that is none.
func topicOf(event proto.Message) string {
	switch event.(type) {
	case *events.TaskCreate:
		return "/tasks/create"
	case *events.TaskStart:
		return "/tasks/start"
	case *events.TaskExit:
		return topicExit
	case *events.TaskDelete:
		return topicDelete
	case *events.TaskOOM:
		return topicOOM
	case *events.TaskExecAdded:
		return "/tasks/exec-added"
	case *events.TaskExecStarted:
		return "/tasks/exec-started"
	case *events.TaskPaused:
		return "/tasks/paused"
	case *events.TaskResumed:
		return "/tasks/resumed"
	case *events.TaskCheckpointed:
		return "/tasks/checkpointed"
	default:
		return ""
	}
}
