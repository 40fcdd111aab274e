import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The admin client, and what producer and consumer say about offsets: `Admin BOOTSTRAP`. */
final class Admin {
    private static final String unique = UUID.randomUUID().toString().substring(0, 8);
    private static final String topic = "admin-" + unique;
    private static final String group = "admins-" + unique;
    private static final long start = 1_700_000_000_000L;
    private static final int records = 300;

    private final String bootstrap;
    private final AdminClient admin;

    Admin(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = AdminClient.create(Map.of("bootstrap.servers", bootstrap, "default.api.timeout.ms", "30000", "request.timeout.ms", "15000"));
    }

    private Properties properties(String... more) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < more.length; i += 2) {
            properties.put(more[i], more[i + 1]);
        }
        return properties;
    }

    private KafkaConsumer<String, String> consumer(String... more) {
        return new KafkaConsumer<>(properties(more), new StringDeserializer(), new StringDeserializer());
    }

    private void createTopics() throws Exception {
        NewTopic wish = new NewTopic(topic, 6, (short) -1).configs(Map.of("retention.ms", "3600000"));
        CreateTopicsOptions onlyLook = new CreateTopicsOptions().validateOnly(true);
        admin.createTopics(List.of(wish), onlyLook).all().get();
        Report.expect(!admin.listTopics().names().get().contains(topic), "validateOnly made the topic");
        CreateTopicsResult made = admin.createTopics(List.of(wish));
        made.all().get();
        Report.same(6, made.numPartitions(topic).get(), "partitions in the answer");
        Report.expect(!made.topicId(topic).get().equals(Uuid.ZERO_UUID), "no topic id in the answer");
        Report.expect(made.replicationFactor(topic).get() >= 1, "no replication factor in the answer");
        Report.refused(TopicExistsException.class, admin.createTopics(List.of(wish)).all(), "the same topic again");
        Report.refused(InvalidTopicException.class, admin.createTopics(List.of(new NewTopic("no good name", 1, (short) -1))).all(), "a bad name");
        Report.refused(InvalidPartitionsException.class, admin.createTopics(List.of(new NewTopic("none-" + unique, 0, (short) -1))).all(), "no partitions");
        NewTopic strange = new NewTopic("strange-" + unique, 1, (short) -1).configs(Map.of("no.such.config", "1"));
        Report.refused(InvalidConfigurationException.class, admin.createTopics(List.of(strange)).all(), "an unknown config");
        NewTopic plain = new NewTopic("defaults-" + unique, java.util.Optional.empty(), java.util.Optional.empty());
        admin.createTopics(List.of(plain)).all().get();
        Report.expect(admin.listTopics().names().get().containsAll(Set.of(topic, plain.name())), "a made topic is not listed");
    }

    private void describeTopics() throws Exception {
        TopicDescription described = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
        Report.same(6, described.partitions().size(), "partitions");
        described.partitions().forEach(p -> {
            Report.expect(p.leader() != null && !p.leader().isEmpty(), "partition " + p.partition() + " has no leader");
            Report.expect(p.isr().contains(p.leader()), "the leader of partition " + p.partition() + " is not in sync");
        });
        TopicDescription byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(described.topicId()))).allTopicIds().get().get(described.topicId());
        Report.same(topic, byId.name(), "the name by topic id");
        Report.refused(UnknownTopicOrPartitionException.class, admin.describeTopics(List.of("nothing-" + unique)).allTopicNames(), "an unknown topic");
    }

    private void createPartitions() throws Exception {
        String grown = "grown-" + unique;
        admin.createTopics(List.of(new NewTopic(grown, 2, (short) -1))).all().get();
        admin.createPartitions(Map.of(grown, NewPartitions.increaseTo(7))).all().get();
        Report.same(7, admin.describeTopics(List.of(grown)).allTopicNames().get().get(grown).partitions().size(), "partitions");
        Report.refused(InvalidPartitionsException.class, admin.createPartitions(Map.of(grown, NewPartitions.increaseTo(3))).all(), "fewer partitions");
    }

    private void describeConfigs() throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Config config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        Report.same("3600000", config.get("retention.ms").value(), "retention.ms");
        Report.same(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, config.get("retention.ms").source(), "source of retention.ms");
        for (String name : List.of("cleanup.policy", "max.message.bytes", "message.timestamp.type", "compression.type")) {
            Report.expect(config.get(name) != null, "no " + name);
            Report.expect(config.get(name).isDefault(), name + " is not a default");
        }
        ConfigResource unknown = new ConfigResource(ConfigResource.Type.TOPIC, "nothing-" + unique);
        Report.refused(UnknownTopicOrPartitionException.class, admin.describeConfigs(List.of(unknown)).all(), "configs of an unknown topic");
        Node node = admin.describeCluster().nodes().get().iterator().next();
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, node.idString());
        Report.expect(!admin.describeConfigs(List.of(broker)).all().get().get(broker).entries().isEmpty(), "a broker has no configs");
    }

    private void describeCluster() throws Exception {
        DescribeClusterResult cluster = admin.describeCluster();
        Report.expect(!cluster.clusterId().get().isEmpty(), "no cluster id");
        Collection<Node> nodes = cluster.nodes().get();
        Set<String> addresses = nodes.stream().map(n -> n.host() + ":" + n.port()).collect(Collectors.toSet());
        Report.same(Set.of(bootstrap.split(",")), addresses, "brokers");
        Report.expect(nodes.contains(cluster.controller().get()), "the controller is none of the brokers");
    }

    /** Second i has record i, in partition i mod 6; the record that is newest by time is not the last of its partition. */
    private void produce() throws Exception {
        Properties idempotent = properties();
        List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(idempotent, new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < records; i++) {
                long time = i == 100 ? start + 3_600_000 : start + i * 1000L;
                sent.add(producer.send(new ProducerRecord<>(topic, i % 6, time, "key-" + i, "value-" + i)));
            }
            producer.flush();
            for (int i = 0; i < records; i++) {
                Report.same(i / 6L, sent.get(i).get().offset(), "offset of record " + i);
                Report.same(i % 6, sent.get(i).get().partition(), "partition of record " + i);
            }
        }
    }

    private Map<Integer, ListOffsetsResultInfo> list(OffsetSpec spec) throws Exception {
        Map<TopicPartition, OffsetSpec> wish = new HashMap<>();
        for (int p = 0; p < 6; p++) {
            wish.put(new TopicPartition(topic, p), spec);
        }
        Map<Integer, ListOffsetsResultInfo> found = new TreeMap<>();
        admin.listOffsets(wish).all().get().forEach((partition, info) -> found.put(partition.partition(), info));
        return found;
    }

    private void listOffsets() throws Exception {
        list(OffsetSpec.earliest()).forEach((p, info) -> Report.same(0L, info.offset(), "earliest of partition " + p));
        list(OffsetSpec.latest()).forEach((p, info) -> Report.same(50L, info.offset(), "latest of partition " + p));
    }

    private void listOffsetsByTime() throws Exception {
        // Record 100 is number 16 of partition 4. The first at or after second 150 is record 150: number 25 of partition 0.
        list(OffsetSpec.forTimestamp(start + 150_000)).forEach((p, info) -> {
            Report.same(p == 4 ? 16L : 25L, info.offset(), "offset by time in partition " + p);
            Report.same(p == 4 ? start + 3_600_000 : start + (150 + p) * 1000L, info.timestamp(), "time in partition " + p);
        });
        list(OffsetSpec.forTimestamp(start + 7_200_000)).forEach((p, info) -> Report.same(-1L, info.offset(), "offset after the last time, partition " + p));
        try (KafkaConsumer<String, String> consumer = consumer()) {
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(new TopicPartition(topic, 1), start + 1)).get(new TopicPartition(topic, 1));
            Report.same(0L, found.offset(), "the consumer's offset by time");
        }
    }

    private void listOffsetsMaxTimestamp() throws Exception {
        list(OffsetSpec.maxTimestamp()).forEach((p, info) -> {
            Report.same(p == 4 ? 16L : 49L, info.offset(), "offset of the newest in partition " + p);
            Report.same(p == 4 ? start + 3_600_000 : start + (294 + p) * 1000L, info.timestamp(), "time of the newest in partition " + p);
        });
    }

    private void read(KafkaConsumer<String, String> consumer, int count, List<ConsumerRecord<String, String>> into) throws Exception {
        Report.until(30, count + " records", () -> {
            consumer.poll(Duration.ofMillis(200)).forEach(into::add);
            return into.size() >= count;
        });
        Report.same(count, into.size(), "records read");
    }

    /** A group with a member, then without: described, listed, its offsets altered and deleted, then itself. */
    private void describeGroups() throws Exception {
        try (KafkaConsumer<String, String> consumer = consumer("group.id", group, "client.id", "reader", "auto.offset.reset", "earliest")) {
            consumer.subscribe(List.of(topic));
            List<ConsumerRecord<String, String>> read = new ArrayList<>();
            read(consumer, records, read);
            Set<String> values = read.stream().map(ConsumerRecord::value).collect(Collectors.toSet());
            Report.same(records, values.size(), "different records read");
            consumer.commitSync();
            ConsumerGroupDescription described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            Report.same("STABLE", described.state().name(), "state");
            Report.same(1, described.members().size(), "members");
            Report.same("range", described.partitionAssignor(), "assignor");
            Report.same("reader", described.members().iterator().next().clientId(), "client id");
            Report.same(6, described.members().iterator().next().assignment().topicPartitions().size(), "assigned partitions");
            Report.refused(GroupNotEmptyException.class, admin.deleteConsumerGroups(List.of(group)).all(), "deleting a group with a member");
        }
        ConsumerGroupDescription described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
        Report.same("EMPTY", described.state().name(), "state after the member left");
    }

    private Map<TopicPartition, OffsetAndMetadata> committed() throws Exception {
        return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
    }

    private void groupOffsets() throws Exception {
        Report.same(6, committed().size(), "partitions with offsets");
        committed().forEach((p, offset) -> Report.same(50L, offset.offset(), "committed offset of " + p));
        TopicPartition first = new TopicPartition(topic, 0);
        admin.alterConsumerGroupOffsets(group, Map.of(first, new OffsetAndMetadata(7, "by hand"))).all().get();
        Report.same(7L, committed().get(first).offset(), "altered offset");
        Report.same("by hand", committed().get(first).metadata(), "metadata");
        admin.deleteConsumerGroupOffsets(group, Set.of(new TopicPartition(topic, 1))).all().get();
        Report.expect(committed().get(new TopicPartition(topic, 1)) == null, "the deleted offset is still there");
        Report.expect(admin.listConsumerGroupOffsets("nobody-" + unique).partitionsToOffsetAndMetadata().get().isEmpty(), "an unknown group has offsets");
        try (KafkaConsumer<String, String> consumer = consumer("group.id", group, "auto.offset.reset", "earliest")) {
            consumer.subscribe(List.of(topic));
            List<ConsumerRecord<String, String>> read = new ArrayList<>();
            read(consumer, 43 + 50, read);
            Report.expect(read.stream().allMatch(r -> r.partition() == 1 || r.partition() == 0 && r.offset() >= 7), "read from elsewhere than the altered offsets");
        }
    }

    @SuppressWarnings("deprecation")
    private void groups() throws Exception {
        Set<String> listed = admin.listConsumerGroups().all().get().stream().map(g -> g.groupId()).collect(Collectors.toSet());
        Report.expect(listed.contains(group), "the group is not listed");
        admin.deleteConsumerGroups(List.of(group)).all().get();
        listed = admin.listConsumerGroups().all().get().stream().map(g -> g.groupId()).collect(Collectors.toSet());
        Report.expect(!listed.contains(group), "the deleted group is still listed");
        Report.refused(GroupIdNotFoundException.class, admin.deleteConsumerGroups(List.of(group)).all(), "deleting it again");
    }

    private void deleteTopics() throws Exception {
        admin.deleteTopics(List.of(topic)).all().get();
        Report.expect(!admin.listTopics().names().get().contains(topic), "the deleted topic is still listed");
        Report.refused(UnknownTopicOrPartitionException.class, admin.describeTopics(List.of(topic)).allTopicNames(), "the deleted topic");
        Report.refused(UnknownTopicOrPartitionException.class, admin.deleteTopics(List.of(topic)).all(), "deleting it again");
        // A new topic of the same name is another one and empty.
        admin.createTopics(List.of(new NewTopic(topic, 6, (short) -1))).all().get();
        list(OffsetSpec.latest()).forEach((p, info) -> Report.same(0L, info.offset(), "latest of the new partition " + p));
    }

    public static void main(String[] arguments) {
        Report report = new Report();
        Admin admin = new Admin(arguments[0]);
        report.feature("create topics", admin::createTopics);
        report.feature("describe topics", admin::describeTopics);
        report.feature("create partitions", admin::createPartitions);
        report.feature("describe configs", admin::describeConfigs);
        report.feature("describe cluster", admin::describeCluster);
        report.feature("produce, idempotent", admin::produce);
        report.feature("list offsets", admin::listOffsets);
        report.feature("list offsets by time", admin::listOffsetsByTime);
        report.feature("list offsets, max timestamp", admin::listOffsetsMaxTimestamp);
        report.feature("group: describe", admin::describeGroups);
        report.feature("group: commits, alter offsets", admin::groupOffsets);
        report.feature("groups: list, describe, delete", admin::groups);
        report.feature("delete topics", admin::deleteTopics);
        admin.admin.close(Duration.ofSeconds(5));
        System.exit(report.failures() == 0 ? 0 : 1);
    }
}
