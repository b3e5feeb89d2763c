import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/**
 * The Java client as an agent of the tests; harness/agent.py describes requests and answers. What differs between
 * versions of the client is in Generation, of which each version compiles its own.
 */
public class Agent {
    static final ObjectMapper JSON = new ObjectMapper();
    final String bootstrap;
    final Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();
    final Map<String, Reader> readers = new HashMap<>();
    AdminClient admin;

    /** A consumer and the rebalances since the last poll. */
    static class Reader implements ConsumerRebalanceListener {
        KafkaConsumer<byte[], byte[]> consumer;
        List<Object> events = new ArrayList<>();

        public void onPartitionsAssigned(Collection<TopicPartition> moved) { events.add(List.of("assigned", named(moved))); }
        public void onPartitionsRevoked(Collection<TopicPartition> moved) { events.add(List.of("revoked", named(moved))); }
        public void onPartitionsLost(Collection<TopicPartition> moved) { events.add(List.of("lost", named(moved))); }
    }

    Agent(String bootstrap) { this.bootstrap = bootstrap; }

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = System.out;
        System.setOut(System.err);
        Agent agent = new Agent(arguments[0]);
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = requests.readLine()) != null; ) {
            Map<String, Object> answer = new HashMap<>();
            try {
                answer.put("ok", agent.answer(JSON.readTree(line)));
            } catch (Throwable failure) {
                failure.printStackTrace();
                Throwable cause = failure instanceof ExecutionException ? failure.getCause() : failure;
                Errors error = Errors.forException(cause);
                answer.put("error", cause.getClass().getSimpleName() + ": " + cause.getMessage());
                answer.put("code", error == Errors.UNKNOWN_SERVER_ERROR ? null : error.code());
            }
            answers.write((JSON.writeValueAsString(answer) + "\n").getBytes(StandardCharsets.UTF_8));
            answers.flush();
        }
        System.exit(0);
    }

    Object answer(JsonNode r) throws Exception {
        switch (r.get("op").asText()) {
            case "version": return "kafka-clients " + AppInfoParser.getVersion();
            case "produce": return produce(r);
            case "transact": return transact(r);
            case "open": return open(r);
            case "poll": return poll(r);
            case "commit": reader(r).consumer.commitSync(Duration.ofSeconds(60)); return null;
            case "close": readers.remove(r.get("consumer").asText()).consumer.close(Duration.ofSeconds(30)); return null;
            case "offsets": return offsets(r);
            case "admin": return admin(r);
            default: throw new IllegalArgumentException(r.get("op").asText());
        }
    }

    Properties common(Object... pairs) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("reconnect.backoff.max.ms", "500");
        for (int i = 0; i < pairs.length; i += 2) p.put(pairs[i], String.valueOf(pairs[i + 1]));
        return p;
    }

    Object produce(JsonNode r) throws Exception {
        String codec = text(r, "codec", "none"), acks = text(r, "acks", "all");
        boolean idempotent = r.path("idempotent").asBoolean(false);
        KafkaProducer<byte[], byte[]> producer = producers.computeIfAbsent(codec + acks + idempotent, k -> new KafkaProducer<>(
            common("compression.type", codec, "acks", acks, "enable.idempotence", idempotent, "linger.ms", 5, "max.request.size", 10_000_000,
                "delivery.timeout.ms", 150_000, "max.block.ms", 150_000, "retries", Integer.MAX_VALUE),
            new ByteArraySerializer(), new ByteArraySerializer()));
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (JsonNode x : r.get("records")) {
            List<Header> headers = new ArrayList<>();
            for (JsonNode h : x.path("h")) headers.add(new RecordHeader(h.get(0).asText(), bytes(h.get(1))));
            sent.add(producer.send(new ProducerRecord<>(text(r, "topic", null), x.hasNonNull("p") ? x.get("p").asInt() : null,
                x.hasNonNull("ts") ? x.get("ts").asLong() : null, bytes(x.get("k")), bytes(x.get("v")), headers)));
        }
        producer.flush();
        List<Object> placed = new ArrayList<>();
        for (Future<RecordMetadata> one : sent) placed.add(Map.of("p", one.get().partition(), "o", one.get().offset()));
        return placed;
    }

    Object transact(JsonNode r) {
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(common("transactional.id", text(r, "id", null)),
            new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.commitTransaction();
        }
        return null;
    }

    Object open(JsonNode r) {
        Properties p = common("auto.offset.reset", "earliest", "enable.auto.commit", false, "isolation.level", text(r, "isolation", "read_uncommitted"),
            "fetch.max.wait.ms", 100, "metadata.max.age.ms", 1000, "max.partition.fetch.bytes", 11_000_000);
        if (r.hasNonNull("group")) {
            p.put("group.id", text(r, "group", null));
            p.put("session.timeout.ms", text(r, "session_ms", "10000"));
            p.put("heartbeat.interval.ms", "300");
        }
        if (r.hasNonNull("strategy")) {
            String named = Map.of("range", "Range", "roundrobin", "RoundRobin", "cooperative-sticky", "CooperativeSticky").get(text(r, "strategy", null));
            p.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + named + "Assignor");
        }
        if (r.hasNonNull("instance")) p.put("group.instance.id", text(r, "instance", null));
        Reader reader = new Reader();
        reader.consumer = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        if (r.hasNonNull("topics")) {
            List<String> topics = new ArrayList<>();
            r.get("topics").forEach(t -> topics.add(t.asText()));
            reader.consumer.subscribe(topics, reader);
        } else {
            reader.consumer.assign(partitions(r));
            reader.consumer.seekToBeginning(partitions(r));
        }
        readers.put(r.get("consumer").asText(), reader);
        return null;
    }

    Object poll(JsonNode r) {
        Reader reader = reader(r);
        List<Object> records = new ArrayList<>();
        for (ConsumerRecord<byte[], byte[]> x : reader.consumer.poll(Duration.ofMillis(r.get("ms").asLong()))) {
            List<Object> headers = new ArrayList<>();
            for (Header h : x.headers()) headers.add(Arrays.asList(h.key(), h.value()));
            Map<String, Object> record = new HashMap<>();
            record.put("t", x.topic());
            record.put("p", x.partition());
            record.put("o", x.offset());
            record.put("k", x.key());
            record.put("v", x.value());
            record.put("ts", x.timestamp());
            record.put("tt", x.timestampType() == TimestampType.CREATE_TIME ? "create" : "append");
            record.put("h", headers);
            records.add(record);
        }
        List<Object> events = reader.events;
        reader.events = new ArrayList<>();
        return Map.of("records", records, "events", events, "assignment", named(reader.consumer.assignment()));
    }

    Object offsets(JsonNode r) throws Exception {
        List<TopicPartition> asked = partitions(r);
        List<Object> found = new ArrayList<>();
        if (r.get("at").asText().equals("max")) {
            for (TopicPartition t : asked) found.add(Generation.offsetOfMaxTimestamp(admin(), t));
            return found;
        }
        try (KafkaConsumer<byte[], byte[]> c = new KafkaConsumer<>(common(), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            if (r.get("at").isTextual()) {
                Map<TopicPartition, Long> ends = r.get("at").asText().equals("earliest") ? c.beginningOffsets(asked) : c.endOffsets(asked);
                for (TopicPartition t : asked) found.add(ends.get(t));
                return found;
            }
            Map<TopicPartition, Long> times = new HashMap<>();
            for (TopicPartition t : asked) times.put(t, r.get("at").asLong());
            Map<TopicPartition, OffsetAndTimestamp> at = c.offsetsForTimes(times);
            for (TopicPartition t : asked) found.add(at.get(t) == null ? null : at.get(t).offset());
            return found;
        }
    }

    AdminClient admin() {
        if (admin == null) admin = AdminClient.create(common());
        return admin;
    }

    Object admin(JsonNode r) throws Exception {
        AdminClient a = admin();
        String topic = text(r, "topic", null), group = text(r, "group", null);
        switch (text(r, "what", null)) {
            case "create": {
                Map<String, String> configs = new HashMap<>();
                if (r.hasNonNull("configs")) r.get("configs").fields().forEachRemaining(e -> configs.put(e.getKey(), e.getValue().asText()));
                NewTopic t = new NewTopic(topic, r.get("partitions").asInt(), (short) r.path("factor").asInt(1)).configs(configs);
                a.createTopics(List.of(t)).all().get();
                return null;
            }
            case "partitions": a.createPartitions(Map.of(topic, NewPartitions.increaseTo(r.get("count").asInt()))).all().get(); return null;
            case "describe": {
                List<Object> out = new ArrayList<>();
                for (TopicPartitionInfo p : Generation.describe(a, topic).partitions()) {
                    List<Integer> replicas = new ArrayList<>(), isr = new ArrayList<>();
                    p.replicas().forEach(n -> replicas.add(n.id()));
                    p.isr().forEach(n -> isr.add(n.id()));
                    out.add(Map.of("p", p.partition(), "leader", p.leader().id(), "replicas", replicas, "isr", isr));
                }
                return out;
            }
            case "configs": {
                Map<String, Object> out = new HashMap<>();
                ConfigResource of = new ConfigResource(ConfigResource.Type.TOPIC, topic);
                for (ConfigEntry e : a.describeConfigs(List.of(of)).all().get().get(of).entries()) {
                    Map<String, Object> entry = new HashMap<>();
                    entry.put("value", e.value());
                    entry.put("set", e.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
                    out.put(e.name(), entry);
                }
                return out;
            }
            case "set": Generation.set(a, topic, text(r, "name", null), text(r, "value", null)); return null;
            case "delete": a.deleteTopics(List.of(topic)).all().get(); return null;
            case "topics": return a.listTopics(new ListTopicsOptions().listInternal(true)).names().get();
            case "groups": return Generation.groups(a);
            case "group": {
                ConsumerGroupDescription g = a.describeConsumerGroups(List.of(group)).all().get().get(group);
                return Map.of("state", Generation.state(g).toLowerCase(Locale.ROOT).replace("_", ""), "members", g.members().size());
            }
            case "delete_group": a.deleteConsumerGroups(List.of(group)).all().get(); return null;
            case "trim": {
                TopicPartition t = new TopicPartition(topic, r.get("partition").asInt());
                return a.deleteRecords(Map.of(t, RecordsToDelete.beforeOffset(r.get("before").asLong()))).lowWatermarks().get(t).get().lowWatermark();
            }
            case "cluster": {
                DescribeClusterResult c = a.describeCluster();
                List<Integer> brokers = new ArrayList<>();
                c.nodes().get().forEach(n -> brokers.add(n.id()));
                return Map.of("id", c.clusterId().get(), "controller", c.controller().get().id(), "brokers", brokers);
            }
            default: throw new IllegalArgumentException(text(r, "what", null));
        }
    }

    Reader reader(JsonNode r) { return readers.get(r.get("consumer").asText()); }

    static String text(JsonNode r, String name, String otherwise) { return r.hasNonNull(name) ? r.get(name).asText() : otherwise; }

    static byte[] bytes(JsonNode base64) { return base64 == null || base64.isNull() ? null : Base64.getDecoder().decode(base64.asText()); }

    static List<TopicPartition> partitions(JsonNode r) {
        List<TopicPartition> out = new ArrayList<>();
        r.get("partitions").forEach(p -> out.add(new TopicPartition(p.get(0).asText(), p.get(1).asInt())));
        return out;
    }

    static List<Object> named(Collection<TopicPartition> partitions) {
        List<Object> out = new ArrayList<>();
        partitions.forEach(p -> out.add(List.of(p.topic(), p.partition())));
        return out;
    }
}
