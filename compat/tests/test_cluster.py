"""Three nodes, of which one is killed in the middle: clients go on, nothing acknowledged is missing or doubled."""
import pytest

from harness.agent import ClientError
from harness.broker import wait_for
from harness.records import assert_same, plain, read

from test_groups import Member, settle
from test_records import CONTROL

PARTITIONS = 3


def create_replicated(start, cluster, topic):
    """A topic whose partitions are led by all three nodes, and whoever describes it."""
    control = start(CONTROL, cluster)
    control.admin("create", topic=topic, partitions=PARTITIONS, factor=3)
    in_sync(control, topic)
    return control


def in_sync(control, topic):
    def all_are():
        try:
            return all(len(p["isr"]) == 3 for p in control.admin("describe", topic=topic))
        except ClientError:
            return False  # the node that was asked has not heard of the topic yet

    wait_for(f"{topic} is in sync", all_are)


@pytest.mark.parametrize("victim", ["leader", "coordinator"])
def test_everything_goes_on_when_a_node_is_killed(client, victim, cluster, start, name):
    control = create_replicated(start, cluster, name)
    producer, reader = start(client, cluster), start(client, cluster)
    first, during = plain(300, PARTITIONS, "first"), plain(6000, PARTITIONS, "during", size=200)
    placed = producer.call("produce", topic=name, records=first, idempotent=True)
    member = Member(reader, f"g-{name}", name, "m", session_ms=30000)
    settle("the group reads the first records", [member], lambda: len(member.found) == len(first))
    member.commit()

    partition = 0
    if victim == "coordinator":
        # The group's state is in the partition of its topic that its name hashes to.
        count = len(control.admin("describe", topic="__consumer_offsets"))
        partition = java_hash(f"g-{name}") % count
    of = "__consumer_offsets" if victim == "coordinator" else name
    leader = control.admin("describe", topic=of)[partition]["leader"]
    node = cluster.nodes[leader - 1]
    of_first = cluster.nodes[control.admin("describe", topic=name)[0]["leader"] - 1]
    before = of_first.log_end_offset(name)
    producing = producer.begin("produce", topic=name, records=during, idempotent=True)
    wait_for("some of them are stored", lambda: of_first.log_end_offset(name) > before, every=0.001)
    node.kill()
    placed += producing.result()
    found = read(producer, name, PARTITIONS, len(first) + len(during))
    assert_same(first + during, placed, found)
    settle("the group reads on", [member], lambda: len(member.found) >= len(first) + len(during))
    assert set(member.found) == set(found)
    member.commit()
    member.close()
    node.start()
    in_sync(control, name)


def java_hash(text):
    value = 0
    for c in text:
        value = (31 * value + ord(c)) & 0xFFFFFFFF
    return value & 0x7FFFFFFF
