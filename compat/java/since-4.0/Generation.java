import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** The admin client of Kafka 4. */
class Generation {
    static TopicDescription describe(AdminClient a, String topic) throws Exception {
        return a.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    static void set(AdminClient a, String topic, String name, String value) throws Exception {
        AlterConfigOp op = new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET);
        a.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic), List.of(op))).all().get();
    }

    static List<String> groups(AdminClient a) throws Exception {
        List<String> out = new ArrayList<>();
        a.listGroups().all().get().forEach(g -> out.add(g.groupId()));
        return out;
    }

    static String state(ConsumerGroupDescription g) { return g.groupState().toString(); }

    static Long offsetOfMaxTimestamp(AdminClient a, TopicPartition t) throws Exception {
        return a.listOffsets(Map.of(t, OffsetSpec.maxTimestamp())).all().get().get(t).offset();
    }
}
