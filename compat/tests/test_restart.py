"""The broker goes away and comes back: nothing acknowledged is missing, nothing is doubled, groups go on."""
import pytest

from harness.broker import wait_for
from harness.records import assert_in_order, assert_same, plain, read, values

from test_groups import Member, settle
from test_records import create


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_everything_goes_on_after_a_restart(client, how, own_broker, start, name):
    broker = own_broker
    create(start, broker, name, 2, {"retention.ms": "777777777"})
    producer, reader = start(client, broker), start(client, broker)
    first, during = plain(400, 2, "first"), plain(400, 2, "during")
    placed = producer.call("produce", topic=name, records=first, idempotent=True)
    member = Member(reader, f"g-{name}", name, "m", session_ms=30000)
    settle("the group reads the first records", [member], lambda: len(member.found) == 400)
    member.commit()

    # The broker is away while these are sent: they wait in the client, and the same producer goes on with its sequence.
    {"stop": broker.stop, "kill": broker.kill}[how]()
    waiting = producer.begin("produce", topic=name, records=during, idempotent=True)
    broker.start()
    placed += waiting.result()
    found = read(producer, name, 2, 800)
    assert_same(first + during, placed, found)
    assert_in_order(found, first=0)

    settle("the group reads on", [member], lambda: len(member.found) >= 800)
    assert set(member.found) == set(found)
    member.commit()
    member.close()

    # Offsets are durable too: another restart, and a member that begins anew gets only what is new.
    broker.restart(how)
    later = start(client, broker)
    later.call("produce", topic=name, records=plain(10, 2, "later"))
    resumed = Member(later, f"g-{name}", name, "resumed")
    settle("the group resumes at its commits", [resumed], lambda: len(resumed.found) >= 10)
    assert values(resumed.found) == sorted(f"later-{i}" for i in range(10))
    settings = create(start, broker, f"{name}-after").admin("configs", topic=name)
    assert settings["retention.ms"] == {"value": "777777777", "set": True}


def test_a_kill_in_the_middle_of_producing_loses_and_doubles_nothing(client, own_broker, start, name):
    broker = own_broker
    create(start, broker, name)
    agent, sent = start(client, broker), plain(30_000, 1, "burst", size=200)
    producing = agent.begin("produce", topic=name, records=sent, idempotent=True, codec="lz4")
    wait_for("some records are stored", lambda: broker.log_end_offset(name) > 0, every=0.001)
    broker.restart("kill")
    placed = producing.result()
    found = read(agent, name, 1, len(sent))
    assert_same(sent, placed, found)
    in_log = [r["k"] for _, r in sorted(found.items(), key=lambda item: item[0][2])]
    assert in_log == [r["k"] for r in sent], "the order of sending is the order in the log"
