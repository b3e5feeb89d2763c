"""Records to send, ways to read them, and their comparison."""
import collections
import os
import random
import time

from .agent import b64, unb64
from .broker import wait_for

KOREAN = ["이것은 수류탄이여!", "받아라 수류탄!!!", "전방 100m 적출현 사격 개시"]
# kcat divides what it prints by these, so no value contains them.
DIVIDERS = bytes.maketrans(b"\x1e\x1f", b"..")


def sample(client, count, partitions, tag="r", seed=1):
    """`count` records over the partitions with everything a record can have, as far as the client can send it."""
    chance, now, out = random.Random(seed), int(time.time() * 1000), []
    values = [
        lambda i: f"{tag}-{i}".encode(),
        lambda i: f"{tag}-{i} {KOREAN[i % 3]}".encode(),
        lambda i: f"{tag}-{i} ".encode() + chance.randbytes(200).translate(DIVIDERS),
        lambda i: f"{tag}-{i} ".encode() + b"compressible " * 60,
        lambda i: None,
        lambda i: b"",
    ]
    keys = [lambda i: f"key-{i % 7}".encode(), lambda i: None, lambda i: KOREAN[i % 3].encode(), lambda i: b""]
    if "empties" in client.lacks:
        values.pop()
        keys.pop()
    named = [["trace", b64(b"1234")], ["trace", b64(b"5678")], ["none", None], ["이름", b64("값".encode())]]
    if "null_headers" in client.lacks:
        named.pop(2)
    for i in range(count):
        headers = named[: i % (1 + len(named))] if i % 100 < 40 else []
        record = {"p": i % partitions, "k": b64(keys[i % len(keys)](i)), "v": b64(values[i % len(values)](i)), "h": headers}
        if "timestamps" not in client.lacks:
            record["ts"] = now - 3_600_000 + 1000 * i
        out.append(record)
    return out


def plain(count, partitions=1, tag="n", size=0):
    """Records that are only numbered: for tests where the order or the count matters."""
    return [{"p": i % partitions, "k": b64(str(i).encode()), "v": b64(f"{tag}-{i}".ljust(size, ".").encode())} for i in range(count)]


def comparable(record):
    """What sender and reader must agree on."""
    return record["p"], record["k"], record["v"], tuple(map(tuple, record.get("h") or []))


def collect(agent, consumer, count, into=None, until=None):
    """Polls until `count` different records, or until(records) says so; -> {(topic, partition, offset): record}."""
    found = {} if into is None else into

    def enough():
        for record in agent.call("poll", consumer=consumer, ms=200)["records"]:
            found[(record["t"], record["p"], record["o"])] = record
        return until(found) if until else len(found) >= count

    wait_for(f"{agent.name} reads {count} records", enough, every=0)
    return found


def read(agent, topic, partitions, count, **how):
    """Everything in a topic, by a consumer of its own."""
    consumer = os.urandom(4).hex()
    agent.call("open", consumer=consumer, partitions=[[topic, p] for p in range(partitions)], **how)
    found = collect(agent, consumer, count)
    agent.call("close", consumer=consumer)
    return found


def assert_same(sent, placed, found, client=None):
    """Every record sent is there once, at the place the producer was told, and nothing else is."""
    expected, got = collections.Counter(map(comparable, sent)), collections.Counter(map(comparable, found.values()))
    assert got == expected, f"missing: {list((expected - got).items())[:3]}, too many: {list((got - expected).items())[:3]}"
    at = {(p, o): record for (_, p, o), record in found.items()}
    for record, place in zip(sent, placed):
        if place is None:
            continue
        there = at[(place["p"], place["o"])]
        assert comparable(there) == comparable(record), f"at {place}: {there}, sent {record}"
        if record.get("ts") is not None:
            assert there["ts"] == record["ts"] and there["tt"] in ("create", None), f"timestamp of {there}, sent {record}"


def assert_in_order(found, first=None):
    """Offsets of each partition follow each other without a gap."""
    by_partition = collections.defaultdict(list)
    for topic, partition, offset in found:
        by_partition[(topic, partition)].append(offset)
    for where, offsets in by_partition.items():
        offsets.sort()
        begin = offsets[0] if first is None else first
        assert offsets == list(range(begin, begin + len(offsets))), f"offsets of {where}: {offsets[:20]}..."


def values(found):
    return sorted((unb64(r["v"]) or b"").decode() for r in found.values())
