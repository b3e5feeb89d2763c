"""What is produced is what is consumed: every codec, every kind of record, every client reading every other."""
import time

import pytest

from harness.agent import ClientError, b64, unb64
from harness.broker import wait_for
from harness.clients import CLIENTS
from harness.records import assert_in_order, assert_same, collect, comparable, plain, read, sample

CONTROL = next(c for c in CLIENTS if c.name == "librdkafka")


def create(start, broker, topic, partitions=1, configs=None):
    """Topics for a test are made by one client, so that clients without admin calls have some."""
    agent = start(CONTROL, broker)
    agent.admin("create", topic=topic, partitions=partitions, configs=configs or {})
    return agent


def test_every_codec_comes_back_record_by_record(client, codec, broker, start, name):
    create(start, broker, name, 3)
    agent, sent = start(client, broker), sample(client, 600, 3)
    placed = agent.call("produce", topic=name, records=sent, codec=codec)
    found = read(agent, name, 3, len(sent))
    assert_same(sent, placed, found)
    assert_in_order(found, first=0)


@pytest.fixture(scope="module")
def written_by_all(broker, tmp_path_factory):
    """One topic with a partition for each client, into which it wrote with each of its codecs."""
    folder, sent = str(tmp_path_factory.mktemp("writers")), []
    control = CONTROL.start(broker.address, folder, 0)
    control.admin("create", topic="written-by-all", partitions=len(CLIENTS))
    control.end()
    for partition, client in enumerate(CLIENTS):
        if client.missing():
            continue
        agent = client.start(broker.address, folder, 1)
        for codec in client.codecs:
            records = sample(client, 60, 1, tag=f"{client.name}-{codec}", seed=partition)
            for record in records:
                record["p"] = partition
            agent.call("produce", topic="written-by-all", records=records, codec=codec)
            sent += records
        agent.end()
    return sent


def test_each_client_reads_what_all_clients_wrote(client, broker, start, written_by_all):
    found = read(start(client, broker), "written-by-all", len(CLIENTS), len(written_by_all))
    assert_same(written_by_all, [], found)
    assert_in_order(found, first=0)


def test_big_records_pass_through(client, broker, start, name):
    create(start, broker, name, 1, {"max.message.bytes": "3000000"})
    chunk = "".join(chr(97 + (i * 7919) % 26) for i in range(900_000))
    sent = [{"p": 0, "k": b64(b"big"), "v": b64(f"{i}{chunk}".encode())} for i in range(4)]
    agent = start(client, broker)
    placed = agent.call("produce", topic=name, records=sent)
    assert_same(sent, placed, read(agent, name, 1, len(sent)))


@pytest.mark.can("errors")
def test_a_batch_over_the_topics_limit_is_refused_by_name(client, broker, start, name):
    create(start, broker, name, 1, {"max.message.bytes": "10000"})
    agent = start(client, broker)
    with pytest.raises(ClientError) as refused:
        agent.call("produce", topic=name, records=[{"p": 0, "k": None, "v": b64(b"x" * 50_000)}])
    assert refused.value.code == 10, refused.value
    assert agent.call("produce", topic=name, records=plain(1)) == [{"p": 0, "o": 0}]


@pytest.mark.can("errors", "invalid_record")
def test_a_record_without_key_is_refused_by_a_compacted_topic(client, broker, start, name):
    create(start, broker, name, 1, {"cleanup.policy": "compact"})
    agent = start(client, broker)
    with pytest.raises(ClientError) as refused:
        agent.call("produce", topic=name, records=[{"p": 0, "k": None, "v": b64(b"no key")}])
    assert refused.value.code == 87, refused.value


def test_writing_to_an_unknown_topic_creates_it(client, broker, start, name):
    agent, sent = start(client, broker), plain(20)
    placed = agent.call("produce", topic=name, records=sent)
    assert_same(sent, placed, read(agent, name, 1, len(sent)))


@pytest.mark.parametrize("acks", ["0", "1"])
def test_fewer_acks_still_store_every_record(client, acks, broker, start, name):
    create(start, broker, name)
    agent, sent = start(client, broker), plain(200)
    agent.call("produce", topic=name, records=sent, acks=acks)
    # Nobody answers acks=0, so the producer's word that it is done says nothing; the log's end does.
    wait_for("all records are stored", lambda: broker.log_end_offset(name) == len(sent))
    assert_same(sent, [], read(agent, name, 1, len(sent)))


def test_an_idempotent_producer_stores_each_record_once_and_in_order(client, broker, start, name):
    create(start, broker, name, 2)
    agent, sent = start(client, broker), plain(3000, 2)
    placed = agent.call("produce", topic=name, records=sent, idempotent=True)
    found = read(agent, name, 2, len(sent))
    assert_same(sent, placed, found)
    for p in range(2):
        in_log = [comparable(r) for (_, q, o), r in sorted(found.items(), key=lambda item: item[0][2]) if q == p]
        assert in_log == [comparable(r) for r in sent if r["p"] == p], "the order within a partition is the order of sending"


@pytest.mark.can("timestamps")
def test_a_topic_with_append_time_carries_the_brokers_clock(client, broker, start, name):
    create(start, broker, name, 1, {"message.timestamp.type": "LogAppendTime"})
    agent, sent = start(client, broker), sample(client, 50, 1)
    before = int(time.time() * 1000)
    agent.call("produce", topic=name, records=sent, codec="gzip")
    after = int(time.time() * 1000)
    for record in read(agent, name, 1, len(sent)).values():
        assert record["tt"] == "append" and before <= record["ts"] <= after, record


@pytest.mark.parametrize("stored_as", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
def test_a_topics_own_compression_changes_no_record(client, stored_as, broker, start, name):
    create(start, broker, name, 1, {"compression.type": stored_as})
    agent, sent, placed = start(client, broker), [], []
    for codec in ("none", "lz4"):
        records = sample(client, 100, 1, tag=codec)
        placed += agent.call("produce", topic=name, records=records, codec=codec)
        sent += records
    found = read(agent, name, 1, len(sent))
    assert_same(sent, placed, found)
    assert_in_order(found, first=0)


def test_read_committed_reads_everything_where_nothing_is_open(client, broker, start, name):
    create(start, broker, name, 2)
    agent, sent = start(client, broker), sample(client, 200, 2)
    placed = agent.call("produce", topic=name, records=sent, codec="snappy")
    assert_same(sent, placed, read(agent, name, 2, len(sent), isolation="read_committed"))


def test_a_consumer_of_many_partitions_hears_of_each_record(client, broker, start, name):
    """A fetch session stays over many polls, and most of its partitions have nothing new in most of them."""
    create(start, broker, name, 40)
    reader, writer = start(client, broker), start(CONTROL, broker)
    reader.call("open", consumer="many", partitions=[[name, p] for p in range(40)])
    found = {}
    for turn, partition in enumerate([0, 39, 7, 7, 20, 39, 0, 13]):
        value = b64(f"turn-{turn}".encode())
        writer.call("produce", topic=name, records=[{"p": partition, "k": None, "v": value}])
        collect(reader, "many", turn + 1, into=found)
        assert sorted(unb64(r["v"]) for r in found.values()) == [f"turn-{i}".encode() for i in range(turn + 1)]


