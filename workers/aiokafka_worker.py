"""One aiokafka consumer for all topics, as a worker of the harness (docs/worker-protocol.md).

    pip install aiokafka
    modes: [{name: aiokafka, command: [python3, workers/aiokafka_worker.py]}]
"""

import asyncio, json, os, sys, threading, time

import aiokafka

# What this client knows of librdkafka's properties; the rest has no counterpart here.
NAMES = {"fetch.wait.max.ms": "fetch_max_wait_ms", "max.partition.fetch.bytes": "max_partition_fetch_bytes",
         "session.timeout.ms": "session_timeout_ms", "security.protocol": "security_protocol",
         "sasl.mechanism": "sasl_mechanism", "sasl.username": "sasl_plain_username", "sasl.password": "sasl_plain_password"}
STARTS = 5  # so often is a start tried that a rebalance of others made fail; a service is restarted
now = time.monotonic_ns  # CLOCK_MONOTONIC, the clock of the protocol


def say(event, **fields):
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def ranges(batch):
    """Runs of offsets without a gap, in the order of delivery."""
    found = []
    for tp, records in batch.items():
        for record in records:
            if not found or (found[-1]["topic"], found[-1]["partition"], found[-1]["last"] + 1) != (tp.topic, tp.partition, record.offset):
                found.append({"topic": tp.topic, "partition": tp.partition, "first": record.offset, "count": 0, "id_sum": 0})
            run = found[-1]
            run["last"], run["count"] = record.offset, run["count"] + 1
            run["id_sum"] = (run["id_sum"] + int.from_bytes(record.value[:8], "big")) % 2**64
    return found


class Rebalances(aiokafka.ConsumerRebalanceListener):
    def __init__(self, commit, processed):
        self.generation, self.commit, self.processed = 0, commit, processed

    def tell(self, event, partitions):
        if partitions:
            say(event, t_ns=now(), generation=self.generation, partitions=[{"topic": tp.topic, "partition": tp.partition} for tp in partitions])

    async def on_partitions_revoked(self, revoked):
        # The next owner begins where this one committed; committing later would set it back.
        await self.commit()
        self.processed.clear()
        self.tell("revoked", revoked)

    def on_partitions_assigned(self, assigned):
        self.generation += 1
        self.tell("assigned", assigned)


async def main():
    spec, start, stop = json.loads(sys.stdin.readline()), now(), threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()  # closed: stop
    known = {NAMES[key]: int(value) if value.isdigit() else value for key, value in spec["properties"].items() if key in NAMES}
    seq = empty = commits = 0
    processed = {}  # next offset by partition

    async def commit():
        nonlocal commits
        if not processed:
            return
        commits, offsets, error = commits + 1, dict(processed), {}
        say("commit_sent", id=commits, t_ns=now(), offsets=[{"topic": tp.topic, "partition": tp.partition, "offset": offset} for tp, offset in offsets.items()])
        try:
            await consumer.commit(offsets)
        except aiokafka.errors.KafkaError as failure:
            error = {"error": repr(failure)}
        say("commit_result", id=commits, t_ns=now(), **error)

    say("hello", protocol_version=1, start_ns=start, client=f"aiokafka {aiokafka.__version__}", handles=1)
    for attempt in range(STARTS):
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=spec["bootstrap_servers"], group_id=spec["group_id"], enable_auto_commit=False,
            auto_offset_reset="earliest", max_poll_records=spec["max_poll_records"], **known)
        consumer.subscribe([topic["name"] for topic in spec["topics"]], listener=Rebalances(commit, processed))
        try:
            await consumer.start()
            break
        except aiokafka.errors.KafkaError:
            # A join that meets another member's rebalance fails for good in aiokafka 0.14.
            await consumer.stop()
            if attempt + 1 == STARTS:
                raise

    while not stop.is_set():
        # A poll waits in slices, so that a closed stdin is noticed.
        begin, batch = now(), await consumer.getmany(timeout_ms=min(spec["poll_timeout_ms"], 200))
        if not batch:
            empty += 1
            continue
        seq += 1
        say("poll", seq=seq, t_begin_ns=begin, t_return_ns=now(), ranges=ranges(batch))
        work = spec["processing"]
        records = sum(map(len, batch.values()))
        await asyncio.sleep(work["per_poll_ms"] / 1e3 + records * work["per_record_us"] / 1e6)
        processed.update({tp: records[-1].offset + 1 for tp, records in batch.items()})
        say("processed", seq=seq, t_ns=now())
        if spec["commit_every_polls"] and seq % spec["commit_every_polls"] == 0:
            await commit()
    await commit()
    processed.clear()  # stopping revokes: there is nothing more to commit
    await consumer.stop()
    say("bye", t_ns=now(), polls=seq, empty_polls=empty)
    os._exit(0)  # the thread above may still hold stdin's lock


asyncio.run(main())
