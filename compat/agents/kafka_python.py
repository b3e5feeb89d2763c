"""kafka-python."""
import sys
import time

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic, OffsetSpec
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import KafkaError

from serve import b64, serve, unb64

ASSIGNORS = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor}


class Listener(kafka.ConsumerRebalanceListener):
    def __init__(self, events):
        self.events = events

    def note(self, kind, moved):
        self.events.append([kind, [[t.topic, t.partition] for t in moved]])

    def on_partitions_assigned(self, assigned):
        self.note("assigned", assigned)

    def on_partitions_revoked(self, revoked):
        self.note("revoked", revoked)

    def on_partitions_lost(self, lost):
        self.note("lost", lost)


class Client:
    def __init__(self, bootstrap):
        self.common = {"bootstrap_servers": bootstrap, "reconnect_backoff_max_ms": 500}
        self.producers, self.consumers, self.admin_client = {}, {}, None

    def version(self):
        return f"kafka-python {kafka.__version__}"

    def produce(self, topic, records, codec="none", acks="all", idempotent=False):
        key = (codec, acks, idempotent)
        if key not in self.producers:
            self.producers[key] = KafkaProducer(**self.common, compression_type=None if codec == "none" else codec, acks=acks if acks == "all" else int(acks),
                                                enable_idempotence=idempotent, linger_ms=5, max_request_size=10_000_000,
                                                delivery_timeout_ms=150_000, max_block_ms=150_000)
        producer = self.producers[key]
        futures = [producer.send(topic, value=unb64(r["v"]), key=unb64(r["k"]), partition=r.get("p"), timestamp_ms=r.get("ts"),
                                 headers=[(name, unb64(value)) for name, value in r.get("h") or []]) for r in records]
        producer.flush(150)
        return [{"p": f.get(60).partition, "o": f.get(60).offset} for f in futures]

    def transact(self, id):
        producer = KafkaProducer(**self.common, transactional_id=id, max_block_ms=60_000)
        producer.init_transactions()
        producer.begin_transaction()
        producer.commit_transaction()

    def open(self, consumer, group=None, topics=None, partitions=None, strategy=None, instance=None, isolation="read_uncommitted",
             session_ms=10000, **_):
        events = []
        settings = {**self.common, "group_id": group, "auto_offset_reset": "earliest", "enable_auto_commit": False, "isolation_level": isolation,
                    "fetch_max_wait_ms": 100, "max_partition_fetch_bytes": 11_000_000}
        if group:
            settings.update(session_timeout_ms=session_ms, heartbeat_interval_ms=300)
        if strategy:
            settings["partition_assignment_strategy"] = [ASSIGNORS[strategy]]
        if instance:
            settings["group_instance_id"] = instance
        c = KafkaConsumer(**settings)
        if topics:
            # A leader that does not know the topic's partitions yet assigns nothing, and does not look again for minutes.
            end = time.monotonic() + 60
            while not all(c.partitions_for_topic(t) for t in topics) and time.monotonic() < end:
                time.sleep(0.02)
            c.subscribe(topics, listener=Listener(events))
        else:
            owned = [TopicPartition(t, p) for t, p in partitions]
            c.assign(owned)
            c.seek_to_beginning(*owned)
        self.consumers[consumer] = (c, events)

    def poll(self, consumer, ms):
        c, events = self.consumers[consumer]
        records = [{"t": r.topic, "p": r.partition, "o": r.offset, "k": b64(r.key), "v": b64(r.value), "ts": r.timestamp,
                    "tt": {0: "create", 1: "append"}.get(r.timestamp_type), "h": [[name, b64(value)] for name, value in r.headers]}
                   for batch in c.poll(timeout_ms=ms).values() for r in batch]
        seen, events[:] = list(events), []
        return {"records": records, "events": seen, "assignment": [[t.topic, t.partition] for t in c.assignment()]}

    def commit(self, consumer):
        self.consumers[consumer][0].commit()

    def close(self, consumer):
        self.consumers.pop(consumer)[0].close()

    def offsets(self, partitions, at):
        asked = [TopicPartition(t, p) for t, p in partitions]
        if at == "max":
            found = self.admin().list_partition_offsets({t: OffsetSpec.MAX_TIMESTAMP for t in asked})
            return [found[t].offset for t in asked]
        c = KafkaConsumer(**self.common)
        try:
            if at in ("earliest", "latest"):
                found = (c.beginning_offsets if at == "earliest" else c.end_offsets)(asked)
                return [found[t] for t in asked]
            found = c.offsets_for_times({t: at for t in asked})
            return [found[t].offset if found[t] else None for t in asked]
        finally:
            c.close()

    def admin(self, what=None, **fields):
        if self.admin_client is None:
            self.admin_client = KafkaAdminClient(**self.common)
        return getattr(self, f"admin_{what}")(self.admin_client, **fields) if what else self.admin_client

    def admin_create(self, a, topic, partitions, configs=None, factor=1):
        a.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=factor, topic_configs=configs or {})])

    def admin_partitions(self, a, topic, count):
        a.create_partitions({topic: NewPartitions(total_count=count)})

    def admin_describe(self, a, topic):
        [t] = a.describe_topics([topic])
        if t["error_code"]:
            raise kafka.errors.for_code(t["error_code"])(topic)
        return [{"p": p["partition_index"], "leader": p["leader_id"], "replicas": p["replica_nodes"], "isr": p["isr_nodes"]}
                for p in sorted(t["partitions"], key=lambda p: p["partition_index"])]

    def admin_configs(self, a, topic):
        found = a.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
        [entries] = [named[topic] for named in found.values()]
        return {name: {"value": e["value"], "set": e["config_source"] == "DYNAMIC_TOPIC_CONFIG"} for name, e in entries.items()}

    def admin_set(self, a, topic, name, value):
        [outcome] = [named[topic] for named in a.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={name: value})]).values()]
        # The code comes back in words: "[Error 40] InvalidConfigurationError: ..."
        if outcome and outcome.startswith("[Error "):
            raise kafka.errors.for_code(int(outcome[7 : outcome.index("]")]))(outcome)

    def admin_delete(self, a, topic):
        a.delete_topics([topic])

    def admin_topics(self, a):
        return a.list_topics()

    def admin_groups(self, a):
        return [g["group_id"] for g in a.list_groups()]

    def admin_group(self, a, group):
        g = a.describe_groups([group])[group]
        return {"state": g["group_state"].lower(), "members": len(g["members"])}

    def admin_delete_group(self, a, group):
        outcome = a.delete_groups([group])[group]
        if outcome != "OK":
            raise getattr(kafka.errors, outcome)(group)

    def admin_trim(self, a, topic, partition, before):
        [done] = a.delete_records({TopicPartition(topic, partition): before}).values()
        return done["low_watermark"]

    def admin_cluster(self, a):
        c = a.describe_cluster()
        return {"id": c["cluster_id"], "controller": c["controller_id"], "brokers": sorted(b.get("broker_id", b.get("node_id")) for b in c["brokers"])}


def code_of(error):
    return getattr(error, "errno", None) if isinstance(error, KafkaError) else None


serve(Client(sys.argv[1]), code_of)
