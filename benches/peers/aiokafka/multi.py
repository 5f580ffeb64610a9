"""One aiokafka consumer per topic, all in one group; a poll gathers them and waits for the slowest.

    modes: [{name: multi-100, command: [python3, benches/peers/aiokafka/multi.py, "100"]}]

The argument is how long a consumer may wait for records in a poll, ms. The quota of a topic in a poll is
max_poll_records.
"""

import asyncio, sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "workers"))
import aiokafka_worker

# A poll that may not wait would spin where nothing is there.
PAUSE_S = 0.001


def gathered(timeout_ms):
    async def poll(spec, members):
        taken = await asyncio.gather(*(
            member.take(timeout_ms=timeout_ms, max_records=spec["max_poll_records"]) for member in members))
        if timeout_ms == 0 and not any(batch for _, _, batch in taken):
            await asyncio.sleep(PAUSE_S)
        return taken

    return poll


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit("usage: multi.py TIMEOUT_MS")
    aiokafka_worker.run(lambda topics: [[topic] for topic in topics], gathered(int(sys.argv[1])))
