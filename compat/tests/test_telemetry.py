"""Clients push the metrics that a subscription asks them for, and the broker shows them (KIP-714)."""
import os
import re
import subprocess
import urllib.request

import pytest

from harness.broker import HOME, IS_OURS, Broker, free_port, wait_for

pytestmark = [
    pytest.mark.can("telemetry"),
    pytest.mark.skipif(not IS_OURS, reason="Apache Kafka has no receiver of its own for what clients push"),
]


def subscribe(broker, name, **settings):
    """Sets a subscription; settings with _ for the dots."""
    config = ",".join(f"{key.replace('_', '.')}=[{value}]" for key, value in settings.items())
    words = ["--entity-type", "client-metrics", "--entity-name", name, "--alter", "--add-config", config]
    tool = os.path.join(HOME, "bin", "kafka-configs.sh")
    subprocess.run([tool, "--bootstrap-server", broker.address, *words], check=True, stdout=subprocess.DEVNULL)


def test_what_is_subscribed_to_is_pushed_and_shown(client, start, name):
    port = free_port()
    broker = Broker(**{"klamm_metrics_listener": f"127.0.0.1:{port}"}).start()
    try:
        # Another subscription is for nobody here.
        subscribe(broker, "others", metrics="*", interval_ms=100, match="client_software_name=nobody")
        subscribe(broker, "mine", metrics="org.apache.kafka.producer.connection", interval_ms=200)
        agent = start(client, broker)
        agent.call("produce", topic=name, acks="all", records=[{"k": "b25l", "v": "b25l"}])

        def shown():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
                text = page.read().decode()
            return {m[1]: float(m[2]) for m in re.finditer(r"^(kafka_client_\w+)\{[^\n]*\} (\S+)$", text, re.M)}
        # librdkafka counts from its first push on, so that there may be nothing to add.
        wait_for("the producer's connections are shown", lambda: "kafka_client_producer_connection_creation_total" in shown())
        assert all(metric.startswith("kafka_client_producer_connection") for metric in shown()), shown()
    finally:
        broker.remove()
