"""confluent-kafka: librdkafka, in the wheel's version and in Debian's."""
import sys

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import admin as ak

from serve import b64, serve, unb64

NEW = hasattr(ak.AdminClient, "incremental_alter_configs")
DEADLINE = 60


class Client:
    def __init__(self, bootstrap):
        self.common = {"bootstrap.servers": bootstrap, "topic.metadata.refresh.interval.ms": 1000,
                       "reconnect.backoff.max.ms": 500, "log_level": 4}
        self.producers, self.consumers, self.admin_client = {}, {}, None

    def version(self):
        return f"confluent-kafka {confluent_kafka.__version__}, librdkafka {confluent_kafka.libversion()[0]}"

    def produce(self, topic, records, codec="none", acks="all", idempotent=False):
        key = (codec, acks, idempotent)
        if key not in self.producers:
            self.producers[key] = Producer({**self.common, "compression.codec": codec, "acks": acks, "linger.ms": 5,
                                            "enable.idempotence": idempotent, "message.max.bytes": 10_000_000})
        producer, placed, failures = self.producers[key], [None] * len(records), []
        for index, record in enumerate(records):
            def delivered(error, message, index=index):
                if error:
                    failures.append(error)
                else:
                    placed[index] = {"p": message.partition(), "o": message.offset()}
            fields = {"key": unb64(record["k"]), "value": unb64(record["v"]), "on_delivery": delivered}
            if record.get("p") is not None:
                fields["partition"] = record["p"]
            if record.get("ts") is not None:
                fields["timestamp"] = record["ts"]
            if record.get("h"):
                fields["headers"] = [(name, unb64(value)) for name, value in record["h"]]
            while True:
                try:
                    producer.produce(topic, **fields)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        producer.flush(150)
        if failures:
            raise KafkaException(failures[0])
        return placed

    def transact(self, id):
        producer = Producer({**self.common, "transactional.id": id})
        producer.init_transactions(60)
        producer.begin_transaction()
        producer.commit_transaction(60)

    def open(self, consumer, group=None, topics=None, partitions=None, strategy=None, instance=None, isolation="read_uncommitted",
             session_ms=10000, **_):
        events = []
        settings = {**self.common, "group.id": group or f"none-{consumer}", "auto.offset.reset": "earliest",
                    "enable.auto.commit": False, "isolation.level": isolation, "session.timeout.ms": session_ms,
                    "heartbeat.interval.ms": 300, "fetch.wait.max.ms": 100, "fetch.message.max.bytes": 11_000_000}
        if strategy:
            settings["partition.assignment.strategy"] = strategy
        if instance:
            settings["group.instance.id"] = instance
        c = Consumer(settings)
        if topics:
            note = lambda kind: lambda _, moved: events.append([kind, [[t.topic, t.partition] for t in moved]])
            c.subscribe(topics, on_assign=note("assigned"), on_revoke=note("revoked"), on_lost=note("lost"))
        else:
            c.assign([TopicPartition(t, p, OFFSET_BEGINNING) for t, p in partitions])
        self.consumers[consumer] = (c, events, {})

    def poll(self, consumer, ms):
        c, events, positions = self.consumers[consumer]
        records = []
        for message in c.consume(500, ms / 1000):
            if message.error():
                if message.error().code() in (KafkaError._PARTITION_EOF, KafkaError.UNKNOWN_TOPIC_OR_PART):
                    continue
                if message.error().retriable() or message.error().code() in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
                    continue
                raise KafkaException(message.error())
            kind, at = message.timestamp()
            records.append({"t": message.topic(), "p": message.partition(), "o": message.offset(), "k": b64(message.key()),
                            "v": b64(message.value()), "ts": at, "tt": {1: "create", 2: "append"}.get(kind),
                            "h": [[name, b64(value)] for name, value in message.headers() or []]})
            positions[(message.topic(), message.partition())] = message.offset() + 1
        seen, events[:] = list(events), []
        return {"records": records, "events": seen, "assignment": [[t.topic, t.partition] for t in c.assignment()]}

    def commit(self, consumer):
        c, _, positions = self.consumers[consumer]
        owned = {(t.topic, t.partition) for t in c.assignment()}
        offsets = [TopicPartition(t, p, o) for (t, p), o in positions.items() if (t, p) in owned]
        if offsets:
            for done in c.commit(offsets=offsets, asynchronous=False):
                if done.error:
                    raise KafkaException(done.error)

    def close(self, consumer):
        self.consumers.pop(consumer)[0].close()

    def offsets(self, partitions, at):
        asked = [TopicPartition(t, p) for t, p in partitions]
        if at == "max":
            spec = ak.OffsetSpec.max_timestamp()
            futures = self.admin().list_offsets({t: spec for t in asked}, request_timeout=DEADLINE)
            return [f.result().offset for f in futures.values()]
        c = Consumer({**self.common, "group.id": "offsets"})
        try:
            if at in ("earliest", "latest"):
                marks = [c.get_watermark_offsets(t, DEADLINE) for t in asked]
                return [low if at == "earliest" else high for low, high in marks]
            found = c.offsets_for_times([TopicPartition(t, p, at) for t, p in partitions], DEADLINE)
            for t in found:
                if t.error:
                    raise KafkaException(t.error)
            return [t.offset if t.offset >= 0 else None for t in found]
        finally:
            c.close()

    def admin(self, what=None, **fields):
        if self.admin_client is None:
            self.admin_client = ak.AdminClient(self.common)
        return getattr(self, f"admin_{what}")(self.admin_client, **fields) if what else self.admin_client

    def admin_create(self, a, topic, partitions, configs=None, factor=1):
        [f] = a.create_topics([ak.NewTopic(topic, num_partitions=partitions, replication_factor=factor, config=configs or {})]).values()
        f.result(DEADLINE)

    def admin_partitions(self, a, topic, count):
        [f] = a.create_partitions([ak.NewPartitions(topic, count)]).values()
        f.result(DEADLINE)

    def admin_describe(self, a, topic):
        t = a.list_topics(topic, DEADLINE).topics[topic]
        if t.error:
            raise KafkaException(t.error)
        return [{"p": p.id, "leader": p.leader, "replicas": p.replicas, "isr": p.isrs} for p in sorted(t.partitions.values(), key=lambda p: p.id)]

    def admin_configs(self, a, topic):
        [f] = a.describe_configs([ak.ConfigResource(ak.RESOURCE_TOPIC, topic)]).values()
        return {name: {"value": e.value, "set": e.source == ak.ConfigSource.DYNAMIC_TOPIC_CONFIG.value} for name, e in f.result(DEADLINE).items()}

    def admin_set(self, a, topic, name, value):
        if NEW:
            entry = ak.ConfigEntry(name, value, incremental_operation=ak.AlterConfigOpType.SET)
            [f] = a.incremental_alter_configs([ak.ConfigResource(ak.RESOURCE_TOPIC, topic, incremental_configs=[entry])]).values()
        else:
            [f] = a.alter_configs([ak.ConfigResource(ak.RESOURCE_TOPIC, topic, set_config={name: value})]).values()
        f.result(DEADLINE)

    def admin_delete(self, a, topic):
        [f] = a.delete_topics([topic]).values()
        f.result(DEADLINE)

    def admin_topics(self, a):
        return list(a.list_topics(timeout=DEADLINE).topics)

    def admin_groups(self, a):
        if NEW:
            return [g.group_id for g in a.list_consumer_groups().result(DEADLINE).valid]
        return [g.id for g in a.list_groups(timeout=DEADLINE)]

    def admin_group(self, a, group):
        if NEW:
            [f] = a.describe_consumer_groups([group]).values()
            g = f.result(DEADLINE)
            return {"state": g.state.name.lower().replace("_", ""), "members": len(g.members)}
        [g] = a.list_groups(group, DEADLINE)
        return {"state": g.state.lower(), "members": len(g.members)}

    def admin_delete_group(self, a, group):
        [f] = a.delete_consumer_groups([group]).values()
        f.result(DEADLINE)

    def admin_trim(self, a, topic, partition, before):
        [f] = a.delete_records([TopicPartition(topic, partition, before)]).values()
        return f.result(DEADLINE).low_watermark

    def admin_cluster(self, a):
        m = a.list_topics(timeout=DEADLINE)
        return {"id": m.cluster_id, "controller": m.controller_id, "brokers": sorted(m.brokers)}


def code_of(error):
    if isinstance(error, KafkaException) and error.args and isinstance(error.args[0], KafkaError):
        code = error.args[0].code()
        # librdkafka's own codes are negative; the ones that stand for a broker's answer are translated.
        return {KafkaError._UNKNOWN_TOPIC: 3, KafkaError._UNKNOWN_PARTITION: 3}.get(code, code if code >= 0 else None)
    return None


serve(Client(sys.argv[1]), code_of)
