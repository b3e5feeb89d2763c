"""Topics, configurations, offsets and groups as administered by each client."""
import time

import pytest

from harness.agent import ClientError
from harness.broker import wait_for
from harness.records import plain, read, values

from test_groups import Member, settle
from test_records import CONTROL, create

admin = pytest.mark.can("admin")


def code(call, *arguments, **fields):
    with pytest.raises(ClientError) as refused:
        call(*arguments, **fields)
    return refused.value.code


def described(agent, topic):
    """The topic's partitions; none while the news of it, or of its end, is on its way."""
    try:
        return agent.admin("describe", topic=topic)
    except ClientError as refused:
        assert refused.code == 3, refused
        return []


@admin
def test_the_life_of_a_topic(client, broker, start, name):
    a = start(client, broker)
    a.admin("create", topic=name, partitions=3, configs={"retention.ms": "3600000", "cleanup.policy": "compact,delete"})
    partitions = wait_for("the topic is described", lambda: described(a, name))
    assert [p["p"] for p in partitions] == [0, 1, 2]
    assert all(p["replicas"] == p["isr"] == [p["leader"]] for p in partitions), partitions

    configs = a.admin("configs", topic=name)
    assert configs["retention.ms"] == {"value": "3600000", "set": True}
    assert configs["cleanup.policy"] == {"value": "compact,delete", "set": True}
    assert configs["segment.bytes"] == {"value": "1073741824", "set": False}
    a.admin("set", topic=name, name="max.message.bytes", value="2000000")
    wait_for("the new value is told", lambda: a.admin("configs", topic=name)["max.message.bytes"] == {"value": "2000000", "set": True})

    a.admin("partitions", topic=name, count=5)
    wait_for("five partitions are described", lambda: len(described(a, name)) == 5)
    assert name in a.admin("topics")
    a.admin("delete", topic=name)
    wait_for("the topic is gone", lambda: name not in a.admin("topics"))
    a.admin("create", topic=name, partitions=1)
    wait_for("its name is free again", lambda: len(described(a, name)) == 1)


@admin
def test_refusals_carry_kafkas_codes(client, broker, start, name):
    a = start(client, broker)
    a.admin("create", topic=name, partitions=1)
    assert code(a.admin, "create", topic=name, partitions=1) == 36
    assert code(a.admin, "create", topic="a/x", partitions=1) == 17
    assert code(a.admin, "create", topic=f"{name}-2", partitions=1, factor=9) == 38
    assert code(a.admin, "create", topic=f"{name}-2", partitions=1, configs={"nonsense": "1"}) == 40
    assert code(a.admin, "create", topic=f"{name}-2", partitions=1, configs={"segment.bytes": "10000"}) == 40
    assert code(a.admin, "set", topic=name, name="retention.ms", value="abc") == 40
    assert code(a.admin, "partitions", topic=name, count=1) == 37
    assert code(a.admin, "delete", topic=f"{name}-2") == 3
    assert f"{name}-2" not in a.admin("topics")


@admin
def test_groups_are_listed_described_and_deleted(client, broker, start, name):
    create(start, broker, name, 2).call("produce", topic=name, records=plain(10, 2))
    group, a = f"g-{name}", start(client, broker)
    member = Member(start(client, broker), group, name, "m")
    settle("the group reads", [member], lambda: len(member.found) == 10)
    member.commit()
    assert group in a.admin("groups")
    assert a.admin("group", group=group) == {"state": "stable", "members": 1}
    assert code(a.admin, "delete_group", group=group) == 68
    member.close()
    wait_for("the group is empty", lambda: a.admin("group", group=group) == {"state": "empty", "members": 0})
    a.admin("delete_group", group=group)
    assert group not in a.admin("groups")
    assert code(a.admin, "delete_group", group=group) == 69


@admin
def test_the_cluster_says_who_it_is(client, broker, start):
    cluster = start(client, broker).admin("cluster")
    assert len(cluster["id"]) == 22 and cluster["controller"] in cluster["brokers"] and len(cluster["brokers"]) == 1, cluster


def test_topics_are_listed_and_described(client, broker, start, name):
    create(start, broker, name, 3)
    a = start(client, broker)
    wait_for("the topic is listed", lambda: name in a.admin("topics"))
    assert [(p["p"], p["isr"] == p["replicas"] == [p["leader"]]) for p in described(a, name)] == [(p, True) for p in range(3)]


def test_offsets_are_found_at_the_ends_and_by_time(client, broker, start, name):
    control = create(start, broker, name, 2)
    base = 1_700_000_000_000
    control.admin("set", topic=name, name="retention.ms", value="-1")
    wait_for("nothing expires", lambda: control.admin("configs", topic=name)["retention.ms"]["value"] == "-1")
    for batch in range(3):  # three batches of ten records, a second between records
        records = [dict(r, p=0, ts=base + 1000 * (10 * batch + i)) for i, r in enumerate(plain(10))]
        control.call("produce", topic=name, records=records)
    a, both = start(client, broker), [[name, 0], [name, 1]]
    assert a.call("offsets", partitions=both, at="earliest") == [0, 0]
    assert a.call("offsets", partitions=both, at="latest") == [30, 0]
    for at, expected in ((base, 0), (base + 1, 1), (base + 9_000, 9), (base + 14_500, 15), (base + 29_000, 29), (base + 29_001, None), (0, 0)):
        assert a.call("offsets", partitions=[[name, 0]], at=at) == [expected], at - base
    assert a.call("offsets", partitions=[[name, 1]], at=base) == [None]


@pytest.mark.can("max_timestamp")
def test_the_offset_of_the_youngest_record_is_found(client, broker, start, name):
    control = create(start, broker, name)
    base = int(time.time() * 1000) - 600_000
    control.call("produce", topic=name, records=[dict(r, ts=base + (100_000 if i == 13 else i)) for i, r in enumerate(plain(30))])
    assert start(client, broker).call("offsets", partitions=[[name, 0]], at="max") == [13]


@pytest.mark.can("admin", "trim")
def test_deleted_records_are_gone_from_the_beginning(client, broker, start, name):
    create(start, broker, name).call("produce", topic=name, records=plain(100))
    a = start(client, broker)
    assert a.admin("trim", topic=name, partition=0, before=40) == 40
    assert a.call("offsets", partitions=[[name, 0]], at="earliest") == [40]
    assert values(read(a, name, 1, 60)) == sorted(f"n-{i}" for i in range(40, 100))
    assert code(a.admin, "trim", topic=name, partition=0, before=101) == 1
    assert a.admin("trim", topic=name, partition=0, before=-1) == 100
    assert a.call("offsets", partitions=[[name, 0]], at="earliest") == [100]
