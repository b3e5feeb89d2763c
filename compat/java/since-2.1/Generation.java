import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** The admin client of Kafka 2.1: no incremental config changes, no offsets by maximum timestamp. */
class Generation {
    static TopicDescription describe(AdminClient a, String topic) throws Exception {
        return a.describeTopics(List.of(topic)).all().get().get(topic);
    }

    static void set(AdminClient a, String topic, String name, String value) throws Exception {
        a.alterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic), new Config(List.of(new ConfigEntry(name, value))))).all().get();
    }

    static List<String> groups(AdminClient a) throws Exception {
        List<String> out = new ArrayList<>();
        a.listConsumerGroups().all().get().forEach(g -> out.add(g.groupId()));
        return out;
    }

    static String state(ConsumerGroupDescription g) { return g.state().toString(); }

    static Long offsetOfMaxTimestamp(AdminClient a, TopicPartition t) { throw new UnsupportedOperationException(); }
}
