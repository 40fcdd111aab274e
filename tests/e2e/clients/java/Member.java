import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A member of a consumer group with Kafka's defaults, but from the earliest offset: `Member BOOTSTRAP TOPIC GROUP FILE [NAME=VALUE...]`, the
 * latter being more settings. Each record is a line of FILE (partition, offset, key, value); standard output tells `assigned`, `revoked` or `lost` with partitions, and `read COUNT`.
 * The end of standard input closes it in good order.
 */
final class Member implements ConsumerRebalanceListener {
    private static void tell(String what, Collection<TopicPartition> partitions) {
        System.out.println(what + " " + partitions.stream().map(p -> String.valueOf(p.partition())).collect(Collectors.joining(",")));
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        tell("assigned", partitions);
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        tell("revoked", partitions);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        tell("lost", partitions);
    }

    private static void closeAtEndOfInput(KafkaConsumer<?, ?> consumer) {
        try {
            while (System.in.read() >= 0) {
                continue;
            }
        } catch (IOException error) {
            System.out.println("standard input: " + error);
        }
        consumer.wakeup();
    }

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        properties.put("group.id", arguments[2]);
        properties.put("auto.offset.reset", "earliest");
        for (int i = 4; i < arguments.length; i++) {
            String[] setting = arguments[i].split("=", 2);
            properties.put(setting[0], setting[1]);
        }
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
        Thread listener = new Thread(() -> closeAtEndOfInput(consumer));
        listener.setDaemon(true);
        listener.start();
        long read = 0;
        try (BufferedWriter file = Files.newBufferedWriter(Path.of(arguments[3]))) {
            consumer.subscribe(List.of(arguments[1]), new Member());
            while (true) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofSeconds(1));
                for (ConsumerRecord<String, String> record : records) {
                    file.write(record.partition() + "\t" + record.offset() + "\t" + record.key() + "\t" + record.value() + "\n");
                }
                file.flush();
                if (!records.isEmpty()) {
                    read += records.count();
                    System.out.println("read " + read);
                }
            }
        } catch (WakeupException asked) {
            // Asked to end: what was read is written and closing commits it.
        } finally {
            consumer.close();
        }
        System.out.println("closed " + read);
    }
}
