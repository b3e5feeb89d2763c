"""A producer with a transactional id works, or hears at once that it will not."""
import time

import pytest

from harness.agent import ClientError
from harness.broker import IS_OURS

pytestmark = pytest.mark.can("transactions")


def test_a_transactional_producer_works_or_is_refused_at_once(client, start, broker, name):
    agent = start(client, broker)
    agent.call("version")
    if not IS_OURS:
        agent.call("transact", id=name)
        return
    begun = time.monotonic()
    with pytest.raises(ClientError):
        agent.call("transact", id=name)
    # Far below the minute that clients wait for a coordinator.
    assert time.monotonic() - begun < 20
