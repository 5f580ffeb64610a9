// One franz-go client for all topics, as a worker of the harness (docs/worker-protocol.md).
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"golang.org/x/sys/unix"
)

const protocolVersion = 1

// A client that is not in its group by then asks whether there is a broker at all: franz-go itself tries for ever.
const joinPatience = 10 * time.Second

// What is read of the specification; what this client has no notion of is left out.
type spec struct {
	ProtocolVersion  int    `json:"protocol_version"`
	BootstrapServers string `json:"bootstrap_servers"`
	Topics           []struct {
		Name string `json:"name"`
	} `json:"topics"`
	GroupID          string `json:"group_id"`
	MaxPollRecords   int    `json:"max_poll_records"`
	MaxRecords       int    `json:"max_records"`
	PollTimeoutMs    int64  `json:"poll_timeout_ms"`
	CommitEveryPolls uint64 `json:"commit_every_polls"`
	Processing       struct {
		PerPollMs   float64 `json:"per_poll_ms"`
		PerRecordUs float64 `json:"per_record_us"`
	} `json:"processing"`
	Properties  map[string]string `json:"properties"`
	StopGraceMs int64             `json:"stop_grace_ms"`
	Unbuffered  bool              `json:"unbuffered"`
}

func main() {
	stdin := bufio.NewReader(os.Stdin)
	spec, err := readSpec(stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "franz-go worker:", err)
		os.Exit(2)
	}
	options, err := options(spec)
	if err != nil {
		fmt.Fprintln(os.Stderr, "franz-go worker:", err)
		os.Exit(2)
	}
	if err := newWorker(spec).run(stdin, options); err != nil {
		fmt.Fprintln(os.Stderr, "franz-go worker:", err)
		os.Exit(1)
	}
}

func readSpec(stdin *bufio.Reader) (*spec, error) {
	line, err := stdin.ReadBytes('\n')
	if len(line) == 0 {
		return nil, fmt.Errorf("standard input ended before a specification: %w", err)
	}
	var read spec
	if err := json.Unmarshal(line, &read); err != nil {
		return nil, fmt.Errorf("the specification: %w", err)
	}
	if read.ProtocolVersion != protocolVersion {
		return nil, fmt.Errorf("the specification is for protocol version %d; this worker speaks %d", read.ProtocolVersion, protocolVersion)
	}
	return &read, nil
}

// numbers are the properties of librdkafka that this client has a counterpart for.
var numbers = map[string]func(int64) kgo.Opt{
	"fetch.wait.max.ms":         func(ms int64) kgo.Opt { return kgo.FetchMaxWait(milliseconds(ms)) },
	"max.partition.fetch.bytes": func(bytes int64) kgo.Opt { return kgo.FetchMaxPartitionBytes(int32(bytes)) },
	"session.timeout.ms":        func(ms int64) kgo.Opt { return kgo.SessionTimeout(milliseconds(ms)) },
}

func milliseconds(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// versions are Kafka's, but of group requests those before the compact encoding: librdkafka's mock cluster offers
// newer ones and hangs up on them as franz-go writes them. They say nothing that is used here.
func versions() *kversion.Versions {
	versions := kversion.Stable()
	for key, most := range map[kmsg.Key]int16{
		kmsg.ApiVersions: 2, kmsg.OffsetCommit: 7, kmsg.OffsetFetch: 5, kmsg.FindCoordinator: 2,
		kmsg.JoinGroup: 5, kmsg.Heartbeat: 3, kmsg.LeaveGroup: 3, kmsg.SyncGroup: 3,
	} {
		versions.SetMaxKeyVersion(key.Int16(), most)
	}
	return versions
}

// options are franz-go's defaults but for what the protocol asks for and the properties say.
func options(spec *spec) ([]kgo.Opt, error) {
	topics := make([]string, len(spec.Topics))
	for i, topic := range spec.Topics {
		topics[i] = topic.Name
	}
	options := []kgo.Opt{
		kgo.MaxVersions(versions()),
		kgo.SeedBrokers(strings.Split(spec.BootstrapServers, ",")...),
		kgo.ConsumerGroup(spec.GroupID),
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		// Partitions leave between two polls only: what was returned is processed and can be committed.
		kgo.BlockRebalanceOnPoll(),
	}
	for name, value := range spec.Properties {
		if name == "security.protocol" && !strings.EqualFold(value, "plaintext") {
			return nil, fmt.Errorf("security.protocol is %s; this worker knows plaintext only", value)
		}
		option, known := numbers[name]
		if !known {
			continue
		}
		number, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("the property %s: %w", name, err)
		}
		options = append(options, option(number))
	}
	return options, nil
}

// place is how far a partition's records are processed.
type place struct {
	topic           string
	partition       int32
	epoch           int32
	next, committed int64  // 0: nothing yet
	failing         string // the error that was told
}

// worker polls on one goroutine. The group's callbacks run on another, but never between a poll and
// AllowRebalance: the two take turns and share all of this without a lock. Results of commits come on a third.
type worker struct {
	spec       *spec
	client     *kgo.Client
	lines      *lines
	places     map[string]map[int32]*place
	joined     chan struct{}
	generation uint64
	polls      uint64
	empty      uint64
	commits    uint64
	unanswered atomic.Int32
	refused    atomic.Bool // a commit failed: the next one says everything again
}

func newWorker(spec *spec) *worker {
	return &worker{
		spec:   spec,
		lines:  newLines(os.Stdout, spec.Unbuffered),
		places: map[string]map[int32]*place{},
		joined: make(chan struct{}),
	}
}

func (w *worker) run(stdin io.Reader, options []kgo.Opt) error {
	// Before the client exists, because it joins, and may tell of it, by itself.
	w.lines.hello(monotonicNs(), "franz-go "+moduleVersion())
	client, err := kgo.NewClient(append(options,
		kgo.OnPartitionsAssigned(w.assigned), kgo.OnPartitionsRevoked(w.revoked), kgo.OnPartitionsLost(w.lost))...)
	if err != nil {
		w.lines.failure("", err, true)
		return err
	}
	w.client = client

	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		// Whatever else comes is not for this version; only the end counts.
		_, _ = io.Copy(io.Discard, stdin)
		cancel(nil)
	}()
	go w.watch(ctx, cancel)

	w.consume(ctx)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		w.lines.failure("", cause, true)
		return cause
	}
	return w.stop()
}

// watch gives up where no broker answers.
func (w *worker) watch(ctx context.Context, giveUp context.CancelCauseFunc) {
	select {
	case <-ctx.Done():
		return
	case <-w.joined:
		return
	case <-time.After(joinPatience):
	}
	ask, done := context.WithTimeout(ctx, joinPatience/2)
	defer done()
	if err := w.client.Ping(ask); err != nil {
		giveUp(fmt.Errorf("no broker answers: %w", err))
	}
}

// consume ends between a poll and AllowRebalance, so that the last commit is not disturbed by the group.
func (w *worker) consume(ctx context.Context) {
	most := w.spec.MaxPollRecords
	if w.spec.MaxRecords > 0 {
		most = min(most, w.spec.MaxRecords)
	}
	// A poll whose context is over from the start returns nothing.
	timeout := milliseconds(max(w.spec.PollTimeoutMs, 1))
	work := w.spec.Processing
	for ; ; w.client.AllowRebalance() {
		begin := monotonicNs()
		wait, done := context.WithTimeout(ctx, timeout)
		fetches := w.client.PollRecords(wait, most)
		done()
		returned := monotonicNs()
		records := w.deliver(fetches, begin, returned)
		if records == 0 {
			// What a poll returns that was given up is an error; one that returned nothing holds no rebalance back.
			if len(fetches) > 0 && ctx.Err() != nil {
				return
			}
			w.empty++
			continue
		}
		sleep(work.PerPollMs*1e6 + float64(records)*work.PerRecordUs*1e3)
		w.processed(fetches)
		w.lines.processed(w.polls, monotonicNs())
		if w.spec.CommitEveryPolls > 0 && w.polls%w.spec.CommitEveryPolls == 0 {
			w.commit(w.client.CommitOffsets, false)
		}
	}
}

// deliver tells what a poll returned, and how many records that were.
func (w *worker) deliver(fetches kgo.Fetches, begin, returned int64) int {
	fetches.EachError(w.fetchFailed)
	records := fetches.NumRecords()
	if records == 0 {
		return 0
	}
	w.polls++
	poll := w.lines.poll(w.polls, begin, returned)
	fetches.EachPartition(func(of kgo.FetchTopicPartition) {
		poll.partition(of.Topic, of.Partition, of.Records)
	})
	poll.end()
	return records
}

// fetchFailed tells an error once until the partition delivers again; franz-go tries again by itself.
func (w *worker) fetchFailed(topic string, partition int32, err error) {
	if topic == "" && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return // the poll's end, not a failure
	}
	if place, message := w.place(topic, partition), err.Error(); place.failing != message {
		place.failing = message
		w.lines.failure(topic, err, false)
	}
}

func (w *worker) processed(fetches kgo.Fetches) {
	fetches.EachPartition(func(of kgo.FetchTopicPartition) {
		if len(of.Records) > 0 {
			last := of.Records[len(of.Records)-1]
			place := w.place(of.Topic, of.Partition)
			place.epoch, place.next, place.failing = last.LeaderEpoch, last.Offset+1, ""
		}
	})
}

func (w *worker) place(topic string, partition int32) *place {
	of := w.places[topic]
	if of == nil {
		of = map[int32]*place{}
		w.places[topic] = of
	}
	found := of[partition]
	if found == nil {
		found = &place{topic: topic, partition: partition}
		of[partition] = found
	}
	return found
}

type commitOffsets = func(
	context.Context, map[string]map[int32]kgo.EpochOffset,
	func(*kgo.Client, *kmsg.OffsetCommitRequest, *kmsg.OffsetCommitResponse, error),
)

// commit hands over what was processed since the last one. Commits reach the broker in the order of the calls.
func (w *worker) commit(how commitOffsets, last bool) {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	// What may have failed in a commit that has no answer yet is said again, by the next one or the last.
	again := w.refused.Swap(false) || last && w.unanswered.Load() > 0
	var sent []*place
	for topic, of := range w.places {
		for partition, place := range of {
			if place.next == 0 || place.next == place.committed && !again {
				continue
			}
			place.committed = place.next
			if offsets[topic] == nil {
				offsets[topic] = make(map[int32]kgo.EpochOffset, len(of))
			}
			offsets[topic][partition] = kgo.EpochOffset{Epoch: place.epoch, Offset: place.next}
			sent = append(sent, place)
		}
	}
	if len(sent) == 0 {
		return
	}
	w.commits++
	id := w.commits
	w.lines.commitSent(id, sent)
	ctx, done := context.WithTimeout(context.Background(), w.grace())
	w.unanswered.Add(1)
	how(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
		done()
		w.unanswered.Add(-1)
		err = errors.Join(err, refusal(response))
		if err != nil {
			w.refused.Store(true)
		}
		w.lines.commitResult(id, err)
	})
}

func refusal(response *kmsg.OffsetCommitResponse) error {
	if response == nil {
		return nil
	}
	for _, topic := range response.Topics {
		for _, partition := range topic.Partitions {
			if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
				return fmt.Errorf("%s [%d]: %w", topic.Topic, partition.Partition, err)
			}
		}
	}
	return nil
}

func (w *worker) assigned(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	select {
	case <-w.joined:
	default:
		close(w.joined)
	}
	if len(partitions) > 0 {
		w.generation++
		w.lines.assigned(w.generation, partitions)
	}
}

// revoked commits first: the next owner begins where this one committed, and a later commit would set it back.
func (w *worker) revoked(_ context.Context, client *kgo.Client, partitions map[string][]int32) {
	if len(partitions) == 0 {
		return
	}
	w.commit(client.CommitOffsetsSync, true)
	w.forget(partitions)
	w.lines.revoked(w.generation, partitions, false)
}

func (w *worker) lost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	if len(partitions) == 0 {
		return
	}
	w.forget(partitions)
	w.lines.revoked(w.generation, partitions, true)
}

func (w *worker) forget(partitions map[string][]int32) {
	for topic, numbers := range partitions {
		for _, number := range numbers {
			delete(w.places[topic], number)
		}
	}
}

// stop commits what was processed and leaves the group, for which there is so much time and no more.
func (w *worker) stop() error {
	w.commit(w.client.CommitOffsetsSync, true)
	w.client.AllowRebalance()
	ctx, done := context.WithTimeout(context.Background(), w.grace())
	defer done()
	if err := w.client.LeaveGroupContext(ctx); err != nil {
		w.lines.failure("", fmt.Errorf("leaving the group: %w", err), false)
	}
	w.client.CloseAllowingRebalance()
	w.lines.bye(w.polls, w.empty)
	return nil
}

// grace is what one step of stopping may take: a commit on its way, the last one, leaving.
func (w *worker) grace() time.Duration { return milliseconds(w.spec.StopGraceMs) / 3 }

// sleep is a thread's: the runtime's timers round up to whole milliseconds.
func sleep(ns float64) {
	left := unix.NsecToTimespec(int64(ns))
	// The runtime's own signals interrupt it.
	for left.Nano() > 0 && unix.Nanosleep(&left, &left) == unix.EINTR {
	}
}

func moduleVersion() string {
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			if module.Path == "github.com/twmb/franz-go" {
				return module.Version
			}
		}
	}
	return "of unknown version"
}
