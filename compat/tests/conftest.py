"""Fixtures of the client tests: brokers, clients, and the last line that `cargo xtask test` counts."""
import itertools
import os
import sys
import tempfile
import uuid

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness.broker import Broker, Cluster  # noqa: E402
from harness.clients import CLIENTS  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "can(*abilities): only for clients that have these")


def pytest_generate_tests(metafunc):
    """One test for each client that has the abilities; with `codec`, one for each codec of that client."""
    if "client" not in metafunc.fixturenames:
        return
    needed = {ability for mark in metafunc.definition.iter_markers("can") for ability in mark.args}
    able = [c for c in CLIENTS if not needed & c.lacks]
    if "codec" in metafunc.fixturenames:
        pairs = [(c, codec) for c in able for codec in c.codecs]
        metafunc.parametrize("client,codec", pairs, ids=[f"{c.name}-{codec}" for c, codec in pairs], indirect=["client"])
    else:
        metafunc.parametrize("client", able, ids=[c.name for c in able], indirect=True)


@pytest.fixture
def client(request):
    reason = request.param.missing()
    if reason:
        pytest.skip(f"{request.param.name}: {reason}")
    return request.param


@pytest.fixture(scope="session")
def broker():
    """The broker that tests share; those that stop it take `own_broker`."""
    shared = Broker().start()
    yield shared
    shared.remove()


@pytest.fixture
def own_broker():
    own = Broker().start()
    yield own
    own.remove()


@pytest.fixture(scope="session")
def cluster():
    """Three nodes that tests share; whoever ends one starts it again."""
    shared = Cluster().start()
    yield shared
    shared.remove()


@pytest.fixture
def start():
    """start(client, broker) runs one more agent; all of them end with the test."""
    agents, numbers = [], itertools.count()
    with tempfile.TemporaryDirectory(prefix="compat-agents-") as folder:
        def begin(client, broker):
            agents.append(client.start(broker.address, folder, next(numbers)))
            return agents[-1]

        yield begin
        for agent in agents:
            agent.end()


@pytest.fixture
def name():
    """A name for a topic or group that nobody else has."""
    return f"t-{uuid.uuid4().hex[:12]}"


def pytest_terminal_summary(terminalreporter):
    count = lambda *kinds: sum(len(terminalreporter.stats.get(kind, [])) for kind in kinds)
    print(f"\ncompat result: {count('passed')} passed, {count('failed', 'error')} failed, {count('skipped')} skipped")
