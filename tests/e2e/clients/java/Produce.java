import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A producer with Kafka's defaults (idempotent, acks=all, five in flight): `Produce BOOTSTRAP TOPIC FILE ACKS`. FILE has a key, a tab and a
 * value in each line; ACKS gets a line (number, partition, offset) for each ack. A number on standard input lets it send up to so many;
 * `acked N` tells how far it is, `failed NUMBER why` what a callback said.
 */
final class Produce {
    private static final AtomicInteger allowed = new AtomicInteger();
    private static final AtomicInteger acked = new AtomicInteger();
    private static final AtomicInteger failed = new AtomicInteger();

    private static void hear() {
        try (BufferedReader input = new BufferedReader(new InputStreamReader(System.in))) {
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                synchronized (allowed) {
                    allowed.set(Integer.parseInt(line.strip()));
                    allowed.notifyAll();
                }
            }
        } catch (IOException error) {
            System.out.println("failed -1 standard input: " + error);
        }
    }

    private static void await(int number) throws InterruptedException {
        synchronized (allowed) {
            while (number >= allowed.get()) {
                allowed.wait();
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        Thread listener = new Thread(Produce::hear);
        listener.setDaemon(true);
        listener.start();
        int number = 0;
        try (PrintWriter acks = new PrintWriter(Files.newBufferedWriter(Path.of(arguments[3])));
             BufferedReader file = Files.newBufferedReader(Path.of(arguments[2]));
             KafkaProducer<String, String> producer = new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer())) {
            for (String line = file.readLine(); line != null; line = file.readLine(), number++) {
                await(number);
                int tab = line.indexOf('\t');
                int mine = number;
                producer.send(new ProducerRecord<>(arguments[1], line.substring(0, tab), line.substring(tab + 1)), (where, error) -> {
                    if (error != null) {
                        failed.incrementAndGet();
                        System.out.println("failed " + mine + " " + error);
                        return;
                    }
                    acks.println(mine + "\t" + where.partition() + "\t" + where.offset());
                    int count = acked.incrementAndGet();
                    if (count % 500 == 0) {
                        System.out.println("acked " + count);
                    }
                });
            }
            producer.flush();
        }
        System.out.println("acked " + acked.get());
        System.out.println("done " + number);
        System.exit(failed.get() == 0 ? 0 : 1);
    }
}
