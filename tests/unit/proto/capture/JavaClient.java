// Kafka's Java client: an admin's requests, an idempotent producer, a transaction, consumers of both group protocols. BROKER is
// where.

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class JavaClient {
    static final TopicPartition PARTITION = new TopicPartition("weir-capture", 1);

    static Properties common() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", System.getenv("BROKER"));
        properties.put("client.id", "weir-java");
        properties.put("default.api.timeout.ms", "8000");
        properties.put("request.timeout.ms", "4000");
        properties.put("enable.metrics.push", "false");
        return properties;
    }

    static void admin() throws Exception {
        try (Admin admin = Admin.create(common())) {
            admin.createTopics(List.of(new NewTopic("weir-created", 3, (short) 1))).all().get(8, TimeUnit.SECONDS);
            admin.describeConfigs(List.of(new ConfigResource(ConfigResource.Type.TOPIC, "weir-capture"))).all()
                .get(8, TimeUnit.SECONDS);
            admin.deleteTopics(List.of("weir-created")).all().get(8, TimeUnit.SECONDS);
        }
    }

    static void produce() throws Exception {
        try (var producer = new KafkaProducer<>(common(), new StringSerializer(), new StringSerializer())) {
            producer.send(new ProducerRecord<>("weir-capture", 1, 1700000000000L, "key", "value")).get(8, TimeUnit.SECONDS);
        }
    }

    static void transact() throws Exception {
        Properties properties = common();
        properties.put("transactional.id", "weir-transaction");
        properties.put("acks", "all");
        properties.put("max.block.ms", "8000");
        properties.put("delivery.timeout.ms", "8000");
        try (var producer = new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer())) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>("weir-capture", 1, 1700000000000L, "key", "value")).get(8, TimeUnit.SECONDS);
            producer.sendOffsetsToTransaction(Map.of(PARTITION, new OffsetAndMetadata(5)), new ConsumerGroupMetadata("weir-group"));
            producer.commitTransaction();
        }
    }

    static void consume(String protocol) throws Exception {
        Properties properties = common();
        properties.put("group.id", "weir-group");
        properties.put("group.protocol", protocol);
        properties.put("client.rack", "weir-rack");
        properties.put("enable.auto.commit", "false");
        if (protocol.equals("classic"))
            properties.put("heartbeat.interval.ms", "500");
        try (var consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of("weir-capture"));
            for (int i = 0; i < 6; i++)
                consumer.poll(Duration.ofMillis(500));
            if (protocol.equals("classic"))
                consumer.commitSync(Map.of(PARTITION, new OffsetAndMetadata(5)));
        }
    }

    interface Act {
        void run() throws Exception;
    }

    static void attempt(Act act) {
        try {
            act.run();
        } catch (Exception e) {
            System.err.println(e);
        }
    }

    public static void main(String[] arguments) {
        attempt(JavaClient::admin);
        attempt(JavaClient::produce);
        attempt(JavaClient::transact);
        attempt(() -> consume("classic"));
        attempt(() -> consume("consumer"));
        System.exit(0);
    }
}
