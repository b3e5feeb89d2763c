"""Groups: members share partitions, take over from each other, and resume where they committed."""
import pytest

from harness.broker import wait_for
from harness.records import collect, plain, values

from test_records import CONTROL, create


class Member:
    """A consumer in a group, and everything that happened to it."""

    def __init__(self, agent, group, topic, label, **how):
        self.agent, self.label, self.owned, self.events, self.found = agent, label, set(), [], {}
        agent.call("open", consumer=label, group=group, topics=[topic], **how)

    def poll(self, ms=100):
        answer = self.agent.call("poll", consumer=self.label, ms=ms)
        self.owned = {p for _, p in answer["assignment"]}
        self.events += [(kind, sorted(p for _, p in moved)) for kind, moved in answer["events"]]
        for r in answer["records"]:
            self.found[(r["t"], r["p"], r["o"])] = r
        return self

    def commit(self):
        self.agent.call("commit", consumer=self.label)

    def close(self):
        self.agent.call("close", consumer=self.label)


def settle(what, members, condition):
    """Polls all members in turn, as running applications would, until the condition holds."""
    def turn():
        for m in members:
            m.poll()
        return condition()

    try:
        wait_for(what, turn, every=0)
    except AssertionError as failure:
        told = [(m.label, m.owned, m.events, m.agent.said()) for m in members]
        raise AssertionError(f"{failure}; members: {told}") from None


def share(a, b, partitions):
    """Both have work and together they have all of it, without an overlap."""
    return a.owned and b.owned and not a.owned & b.owned and a.owned | b.owned == set(range(partitions))


def test_two_members_share_a_topic_and_one_takes_over(client, broker, start, name):
    control = create(start, broker, name, 6)
    group = f"g-{name}"
    a = Member(start(client, broker), group, name, "a", strategy="range")
    settle("the first member owns everything", [a], lambda: len(a.owned) == 6)
    joined = len(a.events)
    b = Member(start(client, broker), group, name, "b", strategy="range")
    settle("both members own half", [a, b], lambda: share(a, b, 6) and len(a.owned) == len(b.owned) == 3)
    assert "revoked" in [kind for kind, _ in a.events[joined:]], f"the first member saw no rebalance: {a.events}"

    control.call("produce", topic=name, records=plain(60, 6, "shared"))
    settle("together they read everything", [a, b], lambda: len(a.found) + len(b.found) >= 60)
    assert not set(a.found) & set(b.found), "a record went to both members"
    assert {p for _, p, _ in a.found} == a.owned and {p for _, p, _ in b.found} == b.owned
    a.commit()
    b.commit()

    b.close()
    settle("the member that is left owns everything", [a], lambda: len(a.owned) == 6)
    control.call("produce", topic=name, records=plain(30, 6, "later"))
    settle("it reads on where both had committed", [a], lambda: sum(v.startswith("later") for v in values(a.found)) == 30)
    assert len(a.found) + len(b.found) == 90, "what the other member had committed was read again"
    a.commit()
    a.close()

    control.call("produce", topic=name, records=plain(12, 6, "last"))
    c = Member(start(client, broker), group, name, "c", strategy="range")
    settle("a later member resumes at the commits", [c], lambda: len(c.found) >= 12)
    assert values(c.found) == sorted(f"last-{i}" for i in range(12))
    c.close()


@pytest.mark.can("cooperative")
def test_a_cooperative_rebalance_moves_only_what_has_to_move(client, broker, start, name):
    control = create(start, broker, name, 6)
    group = f"g-{name}"
    a = Member(start(client, broker), group, name, "a", strategy="cooperative-sticky")
    settle("the first member owns everything", [a], lambda: len(a.owned) == 6)
    before = len(a.events)
    b = Member(start(client, broker), group, name, "b", strategy="cooperative-sticky")
    settle("both members own half", [a, b], lambda: share(a, b, 6) and len(a.owned) == 3)
    revoked = [p for kind, moved in a.events[before:] if kind == "revoked" for p in moved]
    assert sorted(revoked) == sorted(b.owned), f"revoked from the first member: {revoked}, owned by the second: {b.owned}"
    control.call("produce", topic=name, records=plain(60, 6))
    settle("together they read everything", [a, b], lambda: len(a.found) + len(b.found) >= 60)
    assert not set(a.found) & set(b.found), "a record went to both members"
    a.close()
    settle("the other takes over", [b], lambda: len(b.owned) == 6)
    b.close()


@pytest.mark.can("static")
def test_a_static_member_comes_back_without_a_rebalance(client, broker, start, name):
    control = create(start, broker, name, 4)
    group, long = f"g-{name}", 45_000
    first, second = start(client, broker), start(client, broker)
    a = Member(first, group, name, "a", strategy="range", instance="one", session_ms=long)
    b = Member(second, group, name, "b", strategy="range", instance="two", session_ms=long)
    settle("both members own half", [a, b], lambda: share(a, b, 4))
    owned, seen = set(b.owned), len(a.events)
    second.end()
    again = Member(start(client, broker), group, name, "again", strategy="range", instance="two", session_ms=long)
    settle("the restarted member has its partitions again", [a, again], lambda: again.owned == owned)
    control.call("produce", topic=name, records=plain(40, 4))
    settle("both go on reading", [a, again], lambda: len(a.found) + len(again.found) >= 40)
    assert a.events[seen:] == [], f"the other member was disturbed: {a.events[seen:]}"


def test_a_member_that_dies_is_replaced_after_its_session(client, broker, start, name):
    create(start, broker, name, 4)
    group = f"g-{name}"
    doomed = start(client, broker)
    a = Member(start(client, broker), group, name, "a", strategy="range", session_ms=3000)
    b = Member(doomed, group, name, "b", strategy="range", session_ms=3000)
    settle("both members own half", [a, b], lambda: share(a, b, 4))
    doomed.end()
    settle("the survivor owns everything", [a], lambda: len(a.owned) == 4)


def test_groups_of_different_clients_read_independently(client, broker, start, name):
    control = create(start, broker, name, 2)
    control.call("produce", topic=name, records=plain(40, 2))
    members = [Member(start(c, broker), f"g-{name}-{i}", name, "m") for i, c in enumerate((client, CONTROL))]
    settle("each group reads everything", members, lambda: all(len(m.found) == 40 for m in members))


def test_members_of_different_clients_share_one_group(client, broker, start, name):
    """Range is the one strategy that every client calls by the same name and encodes alike."""
    control = create(start, broker, name, 4)
    a = Member(start(client, broker), f"g-{name}", name, "a", strategy="range")
    b = Member(start(CONTROL, broker), f"g-{name}", name, "b", strategy="range")
    settle("both members own half", [a, b], lambda: share(a, b, 4) and len(a.owned) == 2)
    control.call("produce", topic=name, records=plain(40, 4))
    settle("together they read everything", [a, b], lambda: len(a.found) + len(b.found) >= 40)
    assert not set(a.found) & set(b.found), "a record went to both members"
