"""Edits one record of a delivered log: tamper.py removed|doubled|swapped IN OUT."""
import json
import sys

how, source, target = sys.argv[1:]
events = [json.loads(line) for line in open(source, encoding="utf-8")]
polls = [
    event["body"]["line"]
    for event in events
    if event["body"]["event"] == "worker" and event["body"]["line"]["event"] == "poll"
]
# A range in the middle with a few records; its ids are consecutive, so a part's sum is known.
ranges = [entry for poll in polls for entry in poll["ranges"] if entry["count"] >= 3]
victim = ranges[len(ranges) // 2]
poll = next(poll for poll in polls if victim in poll["ranges"])
count, first, last = victim["count"], victim["first"], victim["last"]
lowest = (victim["id_sum"] - count * (count - 1) // 2) // count


def part(begin, end):
    """The records from offset begin to end of the victim."""
    size = end - begin + 1
    id_sum = size * (lowest + begin - first) + size * (size - 1) // 2
    return {**victim, "first": begin, "last": end, "count": size, "id_sum": id_sum}


at = poll["ranges"].index(victim)
poll["ranges"][at : at + 1] = {
    "removed": [part(first, first), part(first + 2, last)],
    "doubled": [part(first, last), part(first + 1, first + 1)],
    "swapped": [part(first + 1, first + 1), part(first, first), part(first + 2, last)],
}[how]
with open(target, "w", encoding="utf-8") as out:
    for event in events:
        out.write(json.dumps(event) + "\n")
print(f"{how}: {victim['topic']} [{victim['partition']}] offset {first + 1}, poll {poll['seq']}")
