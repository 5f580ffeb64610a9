"""One aiokafka consumer for all topics, as a worker of the harness (docs/worker-protocol.md).

    pip install aiokafka
    modes: [{name: aiokafka, command: [python3, workers/aiokafka_worker.py]}]

Other ways to poll, built on this one, are in benches/peers/aiokafka.
"""

import asyncio, json, os, struct, sys, threading, time

import aiokafka

# What this client knows of librdkafka's properties; the rest has no counterpart here.
NAMES = {"fetch.wait.max.ms": "fetch_max_wait_ms", "max.partition.fetch.bytes": "max_partition_fetch_bytes",
         "session.timeout.ms": "session_timeout_ms", "security.protocol": "security_protocol",
         "sasl.mechanism": "sasl_mechanism", "sasl.username": "sasl_plain_username", "sasl.password": "sasl_plain_password"}
STARTS = 5  # so often is a start tried that a rebalance of others made fail; a service is restarted
SLICE_MS = 200  # a poll waits in slices, so that a closed stdin is noticed
FLUSH_AFTER_S = 0.05  # half of what the protocol allows
now = time.monotonic_ns  # CLOCK_MONOTONIC, the clock of the protocol


class Lines:
    """Standard output. A system call per line would cost more than the line."""

    def __init__(self, unbuffered):
        self.unbuffered, self.waiting = unbuffered, []

    def say(self, event, **fields):
        """A line that may wait for its neighbours."""
        if not self.waiting and not self.unbuffered:
            asyncio.get_running_loop().call_later(FLUSH_AFTER_S, self.flush)
        self.waiting.append(json.dumps({"event": event, **fields}, separators=(",", ":")))
        if self.unbuffered:
            self.flush()

    def say_now(self, event, **fields):
        """A line that the harness waits for."""
        self.say(event, **fields)
        self.flush()

    def flush(self):
        if self.waiting:
            sys.stdout.write("\n".join(self.waiting) + "\n")
            sys.stdout.flush()
            self.waiting.clear()


def id_sum(values):
    """Of the first eight bytes; a value that is shorter counts as 0, which no record's id is."""
    heads = b"".join([value[:8] if value is not None and len(value) >= 8 else bytes(8) for value in values])
    return sum(struct.unpack(f">{len(heads) // 8}Q", heads)) % 2**64


def ranges(batch):
    """Runs of offsets without a gap, in the order of delivery."""
    found = []
    for tp, records in batch.items():
        offsets, begin = [record.offset for record in records], 0
        while begin < len(offsets):
            run = range(offsets[begin], offsets[begin] + len(offsets) - begin)
            if offsets[begin:] != list(run):
                run = range(run[0], next(wanted for wanted, offset in zip(run, offsets[begin:]) if wanted != offset))
            end = begin + len(run)
            found.append({"topic": tp.topic, "partition": tp.partition, "first": run[0], "last": run[-1],
                          "count": len(run), "id_sum": id_sum([record.value for record in records[begin:end]])})
            begin = end
    return found


class Member(aiokafka.ConsumerRebalanceListener):
    """A consumer, what it owns, and how far that is processed."""

    def __init__(self, worker, topics):
        self.worker, self.topics = worker, topics
        self.owned = {}  # partitions by topic
        self.tenure = 0  # ends with a revocation: what was taken before and is not processed is void
        self.processed, self.committed = {}, {}  # next offsets by partition
        self.sending = None

    async def start(self):
        spec = self.worker.spec
        known = {NAMES[key]: int(value) if value.isdigit() else value for key, value in spec["properties"].items() if key in NAMES}
        for attempt in range(STARTS):
            self.consumer = aiokafka.AIOKafkaConsumer(
                bootstrap_servers=spec["bootstrap_servers"], group_id=spec["group_id"], enable_auto_commit=False,
                auto_offset_reset="earliest", max_poll_records=spec["max_poll_records"], **known)
            self.consumer.subscribe(self.topics, listener=self)
            try:
                return await self.consumer.start()
            except aiokafka.errors.KafkaError:
                # A join that meets another member's rebalance fails for good in aiokafka 0.14.
                await self.consumer.stop()
                if attempt + 1 == STARTS:
                    raise

    async def take(self, *partitions, timeout_ms, max_records):
        batch = await self.consumer.getmany(*partitions, timeout_ms=timeout_ms, max_records=max_records)
        return self, self.tenure, batch

    async def commit(self):
        offsets = {tp: offset for tp, offset in self.processed.items() if self.committed.get(tp) != offset}
        if not offsets:
            return
        self.worker.commits += 1
        commit, error = self.worker.commits, {}
        self.worker.lines.say("commit_sent", id=commit, t_ns=now(), offsets=[
            {"topic": tp.topic, "partition": tp.partition, "offset": offset} for tp, offset in offsets.items()])
        try:
            await self.consumer.commit(offsets)
            self.committed.update(offsets)
        except aiokafka.errors.KafkaError as failure:
            error = {"error": repr(failure)}
        self.worker.lines.say("commit_result", id=commit, t_ns=now(), **error)

    async def sent(self):
        """When no commit is on its way. aiokafka repeats one that failed, even after a later one: never two at a time."""
        if self.sending:
            await self.sending
            self.sending = None

    async def commit_aside(self):
        await self.sent()
        self.sending = asyncio.create_task(self.commit())

    async def on_partitions_revoked(self, revoked):
        async with self.worker.in_hand:
            # The next owner begins where this one committed; committing later would set it back.
            await self.sent()
            await self.commit()
            self.tenure += 1
            self.owned = {}
            self.processed.clear()
            self.committed.clear()
            self.tell("revoked", revoked)

    def on_partitions_assigned(self, assigned):
        self.worker.generation += 1
        for tp in assigned:
            self.owned.setdefault(tp.topic, []).append(tp)
        self.tell("assigned", assigned)

    def tell(self, event, partitions):
        if partitions:
            self.worker.lines.say_now(event, t_ns=now(), generation=self.worker.generation, partitions=[
                {"topic": tp.topic, "partition": tp.partition} for tp in partitions])


class Worker:
    """The polling task: polls, works, commits, until the order to stop comes."""

    def __init__(self, spec, shares, poll):
        self.spec, self.lines, self.poll = spec, Lines(spec.get("unbuffered")), poll
        self.generation = self.commits = self.seq = self.empty = 0
        self.in_hand = asyncio.Lock()  # held while a batch is worked on: a revocation waits for it
        self.members = [Member(self, topics) for topics in shares([topic["name"] for topic in spec["topics"]])]

    async def run(self, stop):
        self.lines.say_now("hello", protocol_version=1, start_ns=now(), client=f"aiokafka {aiokafka.__version__}", handles=len(self.members))
        starting = asyncio.gather(*(member.start() for member in self.members))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
        else:
            starting.cancel()
            await asyncio.wait({starting})
        while not stop.is_set():
            begin = now()
            taken = await self.poll(self.spec, self.members)
            async with self.in_hand:
                # One member's records may have waited for another's poll, and gone to a new owner meanwhile.
                await self.work([(member, batch) for member, tenure, batch in taken if batch and tenure == member.tenure], begin, now())
        await asyncio.wait_for(self.finish(), self.spec["stop_grace_ms"] / 1e3)
        self.lines.say_now("bye", t_ns=now(), polls=self.seq, empty_polls=self.empty)

    async def work(self, taken, begin, returned):
        if not taken:
            self.empty += 1
            return
        self.seq += 1
        found = [run for _, batch in taken for run in ranges(batch)]
        self.lines.say("poll", seq=self.seq, t_begin_ns=begin, t_return_ns=returned, ranges=found)
        cost, records = self.spec["processing"], sum(run["count"] for run in found)
        # Even of nothing: who never waits keeps the client's own tasks from running.
        await asyncio.sleep(cost["per_poll_ms"] / 1e3 + records * cost["per_record_us"] / 1e6)
        for member, batch in taken:
            member.processed.update({tp: records[-1].offset + 1 for tp, records in batch.items()})
        self.lines.say("processed", seq=self.seq, t_ns=now())
        if self.spec["commit_every_polls"] and self.seq % self.spec["commit_every_polls"] == 0:
            for member in self.members:
                await member.commit_aside()

    async def finish(self):
        for member in self.members:
            await member.sent()
            await member.commit()
        await asyncio.gather(*(member.consumer.stop() for member in self.members))


async def main(shares, poll):
    spec, stop, loop = json.loads(sys.stdin.readline()), asyncio.Event(), asyncio.get_running_loop()
    # Closed: stop.
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(stop.set)), daemon=True).start()
    worker, code = Worker(spec, shares, poll), 0
    try:
        await worker.run(stop)
    except (aiokafka.errors.KafkaError, asyncio.TimeoutError) as failure:
        print("aiokafka worker:", repr(failure), file=sys.stderr, flush=True)
        worker.lines.say_now("error", t_ns=now(), message=repr(failure), fatal=True)
        code = 1
    os._exit(code)  # the thread above may still hold stdin's lock


def run(shares, poll):
    """`shares`: from all topics to those of each consumer; `poll`: from the specification and the consumers to what they took."""
    asyncio.run(main(shares, poll))


async def poll_one(spec, members):
    most = min(spec["max_poll_records"], spec.get("max_records") or spec["max_poll_records"])
    return [await members[0].take(timeout_ms=min(spec["poll_timeout_ms"], SLICE_MS), max_records=most)]


if __name__ == "__main__":
    run(lambda topics: [topics], poll_one)
