"""One aiokafka consumer for all topics that is asked for each topic in turn, with a quota per topic.

    modes: [{name: rotate, command: [python3, benches/peers/aiokafka/rotate.py]}]

A poll takes what is there of every topic, at most max_poll_records of each, and begins with another topic than the
last one. Where nothing is there it waits for the first records of any.
"""

import itertools, sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "workers"))
import aiokafka_worker


def rotating():
    turns = itertools.count()

    async def poll(spec, members):
        member, quota = members[0], spec["max_poll_records"]
        left = spec.get("max_records") or quota * len(spec["topics"])
        topics, taken = list(member.owned), []
        first = next(turns) % len(topics) if topics else 0
        for topic in topics[first:] + topics[:first]:
            if left == 0:
                break
            # A rebalance in between takes them away.
            partitions = member.owned.get(topic)
            if not partitions:
                continue
            part = await member.take(*partitions, timeout_ms=0, max_records=min(quota, left))
            left -= sum(map(len, part[2].values()))
            taken.append(part)
        if not any(batch for _, _, batch in taken):
            most = min(quota, spec.get("max_records") or quota)
            taken = [await member.take(timeout_ms=min(spec["poll_timeout_ms"], aiokafka_worker.SLICE_MS), max_records=most)]
        return taken

    return poll


if __name__ == "__main__":
    aiokafka_worker.run(lambda topics: [topics], rotating())
