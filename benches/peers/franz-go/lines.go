package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"
)

// Half of what the protocol allows.
const flushAfter = 50 * time.Millisecond

// Go's own monotonic clock is CLOCK_MONOTONIC too, but shows only differences: they are counted from here.
var origin, originNs = func() (time.Time, int64) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err) // there is no Linux without it
	}
	return time.Now(), now.Nano()
}()

func monotonicNs() int64 { return originNs + int64(time.Since(origin)) }

// lines is standard output: lines of JSON, written by hand because a poll's line is on the hot path.
// Topics' names need no escapes, Kafka allows only letters, digits, '.', '_' and '-' in them.
type lines struct {
	mu         sync.Mutex
	out        *os.File
	buffer     []byte
	unbuffered bool
	timer      *time.Timer
	waiting    bool // lines are in the buffer and the timer runs
}

func newLines(out *os.File, unbuffered bool) *lines {
	l := &lines{out: out, unbuffered: unbuffered, buffer: make([]byte, 0, 64<<10)}
	l.timer = time.AfterFunc(flushAfter, l.flushLate)
	l.timer.Stop()
	return l
}

func (l *lines) flushLate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting {
		l.flush()
	}
}

// flush is called with the lock held.
func (l *lines) flush() {
	l.waiting = false
	if _, err := l.out.Write(l.buffer); err != nil {
		// The harness is gone.
		fmt.Fprintln(os.Stderr, "franz-go worker: standard output:", err)
		os.Exit(1)
	}
	l.buffer = l.buffer[:0]
}

// begin takes the lock, which end or now gives back.
func (l *lines) begin(event string) *lines {
	l.mu.Lock()
	l.text(`{"event":"`).text(event).text(`"`)
	return l
}

// end ends a line that may wait for its neighbours.
func (l *lines) end() {
	l.text("}\n")
	if l.unbuffered {
		l.flush()
	} else if !l.waiting {
		l.waiting = true
		l.timer.Reset(flushAfter)
	}
	l.mu.Unlock()
}

// now ends a line that the harness waits for.
func (l *lines) now() {
	l.text("}\n")
	l.flush()
	l.mu.Unlock()
}

func (l *lines) text(text string) *lines {
	l.buffer = append(l.buffer, text...)
	return l
}

func (l *lines) number(key string, value int64) *lines {
	l.text(key)
	l.buffer = strconv.AppendInt(l.buffer, value, 10)
	return l
}

func (l *lines) count(key string, value uint64) *lines {
	l.text(key)
	l.buffer = strconv.AppendUint(l.buffer, value, 10)
	return l
}

// words are anybody's and may need escapes.
func (l *lines) words(key, words string) *lines {
	l.text(key)
	quoted, err := json.Marshal(words)
	if err != nil {
		panic(err) // a string always becomes JSON
	}
	l.buffer = append(l.buffer, quoted...)
	return l
}

func (l *lines) hello(start int64, client string) {
	l.begin("hello").number(`,"protocol_version":`, protocolVersion).number(`,"start_ns":`, start).
		words(`,"client":`, client).text(`,"handles":1`).now()
}

func (l *lines) assigned(generation uint64, partitions map[string][]int32) {
	l.partitions("assigned", generation, partitions).now()
}

func (l *lines) revoked(generation uint64, partitions map[string][]int32, lost bool) {
	l.partitions("revoked", generation, partitions)
	if lost {
		l.text(`,"lost":true`)
	}
	l.now()
}

func (l *lines) partitions(event string, generation uint64, partitions map[string][]int32) *lines {
	l.begin(event).number(`,"t_ns":`, monotonicNs()).count(`,"generation":`, generation).text(`,"partitions":[`)
	comma := ""
	for topic, numbers := range partitions {
		for _, number := range numbers {
			l.text(comma).text(`{"topic":"`).text(topic).number(`","partition":`, int64(number)).text("}")
			comma = ","
		}
	}
	return l.text("]")
}

// poll begins a poll's line: partition for each partition of each fetch, then end.
func (l *lines) poll(seq uint64, begin, returned int64) *pollLine {
	l.begin("poll").count(`,"seq":`, seq).number(`,"t_begin_ns":`, begin).number(`,"t_return_ns":`, returned).text(`,"ranges":[`)
	return &pollLine{l: l}
}

type pollLine struct {
	l     *lines
	comma string
}

// partition adds the runs of consecutive offsets among records of one partition.
func (p *pollLine) partition(topic string, partition int32, records []*kgo.Record) {
	for from := 0; from < len(records); {
		first := records[from].Offset
		var sum uint64
		to := from
		for ; to < len(records) && records[to].Offset == first+int64(to-from); to++ {
			if value := records[to].Value; len(value) >= 8 {
				sum += binary.BigEndian.Uint64(value)
			}
		}
		count := int64(to - from)
		p.l.text(p.comma).text(`{"topic":"`).text(topic).number(`","partition":`, int64(partition)).
			number(`,"first":`, first).number(`,"last":`, first+count-1).number(`,"count":`, count).
			count(`,"id_sum":`, sum).text("}")
		p.comma = ","
		from = to
	}
}

func (p *pollLine) end() { p.l.text("]").end() }

func (l *lines) processed(seq uint64, t int64) {
	l.begin("processed").count(`,"seq":`, seq).number(`,"t_ns":`, t).end()
}

func (l *lines) commitSent(id uint64, places []*place) {
	l.begin("commit_sent").count(`,"id":`, id).number(`,"t_ns":`, monotonicNs()).text(`,"offsets":[`)
	comma := ""
	for _, place := range places {
		l.text(comma).text(`{"topic":"`).text(place.topic).number(`","partition":`, int64(place.partition)).
			number(`,"offset":`, place.next).text("}")
		comma = ","
	}
	l.text("]").end()
}

func (l *lines) commitResult(id uint64, err error) {
	l.begin("commit_result").count(`,"id":`, id).number(`,"t_ns":`, monotonicNs())
	if err != nil {
		l.words(`,"error":`, err.Error())
	}
	l.end()
}

func (l *lines) failure(topic string, err error, fatal bool) {
	l.begin("error").number(`,"t_ns":`, monotonicNs()).words(`,"message":`, err.Error())
	if topic != "" {
		l.words(`,"topic":`, topic)
	}
	if fatal {
		l.text(`,"fatal":true`)
	}
	l.now()
}

func (l *lines) bye(polls, empty uint64) {
	l.begin("bye").number(`,"t_ns":`, monotonicNs()).count(`,"polls":`, polls).count(`,"empty_polls":`, empty).now()
}
