"""One Klamm voter and two Apache Kafka controllers in one KRaft quorum: they elect, commit, and restart after `kill -9`."""
import signal

import pytest

from harness import quorum
from harness.quorum import OURS, THEIRS, Quorum


@pytest.fixture(params=[0, 1], ids=["static-voters", "dynamic-voters"])
def mixed(request):
    reason = quorum.missing()
    if reason:
        pytest.skip(f"Apache Kafka: {reason}")
    mixed = Quorum(request.param)
    yield mixed
    mixed.remove()


def test_a_quorum_of_both_elects_commits_and_restarts(mixed):
    made = []

    def commit(name):
        mixed.make(name)
        made.append(name)

    mixed.start()
    mixed.leader()
    commit("together")

    # Ours leads: it asks for votes all the while, and who comes back grants it.
    mixed.kill(*THEIRS)
    mixed.start(THEIRS[0])
    assert mixed.leader() == OURS
    commit("ours-and-one")
    mixed.start(THEIRS[1])
    mixed.leader([OURS])
    commit("ours-and-two")
    mixed.caught_up()

    # Theirs lead, and ours follows: what its broker is asked for goes to the leader.
    mixed.kill(OURS)
    mixed.leader(THEIRS)
    mixed.start(OURS)
    commit("ours-follows")
    leader = mixed.leader(THEIRS)
    mixed.caught_up()

    # The leader of theirs is gone: the other one and ours are a majority.
    mixed.kill(leader)
    mixed.leader()
    commit("without-one-of-theirs")
    mixed.start(leader)
    mixed.leader()
    mixed.caught_up()

    mixed.kill(*mixed.nodes)
    mixed.start()
    mixed.leader()
    commit("after-all-were-killed")
    mixed.caught_up()
    assert mixed.topics() == set(made)

    # The same log on all three, but for what was not committed when the last ones stopped.
    for number in (OURS, *THEIRS):
        mixed.nodes[number].end(signal.SIGTERM)
    logs = sorted((node.written() for node in mixed.nodes.values()), key=len)
    assert all(log.startswith(logs[0]) for log in logs)
    assert all(name.encode() in logs[0] for name in made)
    for node in mixed.nodes.values():
        said = node.said()
        assert "panicked at" not in said, said
        assert "unsupported version" not in said, said
