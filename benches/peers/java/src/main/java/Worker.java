import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TopicAuthorizationException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.utils.AppInfoParser;

/** One KafkaConsumer for all topics, as a worker of the harness (docs/worker-protocol.md). */
final class Worker implements ConsumerRebalanceListener {
    private static final int PROTOCOL_VERSION = 1;
    /** A poll waits in slices, so that a closed standard input is noticed. */
    private static final long SLICE_MS = 200;
    /** Who is not in the group by then asks whether there is a broker at all: the client itself tries for ever. */
    private static final long JOIN_PATIENCE_MS = 10_000;
    /** The harness waits 30 s for the first line. */
    private static final long WARM_FOR_AT_MOST_MS = 15_000;

    /** librdkafka's properties that this client has under its own name. */
    private static final Map<String, String> NAMES = Map.of(
            "fetch.wait.max.ms", ConsumerConfig.FETCH_MAX_WAIT_MS_CONFIG,
            "max.partition.fetch.bytes", ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG,
            "session.timeout.ms", ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG);

    private final JsonNode spec;
    private final Lines lines;
    private final Duration grace;
    private KafkaConsumer<byte[], byte[]> consumer;
    private volatile boolean stop;

    /** How far the partitions that are owned are processed, and what of it was handed over for commit. */
    private final Map<TopicPartition, OffsetAndMetadata> processed = new HashMap<>();
    private final Map<TopicPartition, OffsetAndMetadata> handedOver = new HashMap<>();
    private boolean joined;
    private long generation;
    private long polls;
    private long empty;
    private long commits;
    private int unanswered;
    /** So many records more, and until then, if nobody says stop. */
    private long enough = Long.MAX_VALUE;
    private long deadline = System.nanoTime() + Long.MAX_VALUE / 2;
    private String refusal = "";

    private Worker(JsonNode spec, Lines lines) {
        this.spec = spec;
        this.lines = lines;
        // The last commit and leaving may take so long each.
        grace = Duration.ofMillis(spec.path("stop_grace_ms").asLong() / 2);
    }

    public static void main(String[] args) throws IOException {
        BufferedReader stdin = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        String line = stdin.readLine();
        if (line == null) {
            refuse("standard input ended before a specification");
        }
        JsonNode spec = new ObjectMapper().readTree(line);
        int version = spec.path("protocol_version").asInt();
        if (version != PROTOCOL_VERSION) {
            refuse("the specification is for protocol version " + version + "; this worker speaks " + PROTOCOL_VERSION);
        }
        String security = spec.path("properties").path("security.protocol").asText("plaintext");
        if (!security.equalsIgnoreCase("plaintext")) {
            refuse("security.protocol is " + security + "; this worker knows plaintext only");
        }
        if (args.length == 2 && args[0].equals("--warm") && args[1].matches("\\d{1,18}")) {
            warm(spec, Long.parseLong(args[1]));
        } else if (args.length > 0) {
            refuse("the only argument is --warm RECORDS");
        }
        int code = new Worker(spec, new Lines(spec.path("unbuffered").asBoolean())).run(stdin);
        // The thread that reads standard input may still be in it.
        Runtime.getRuntime().halt(code);
    }

    private static void refuse(String why) {
        System.err.println("java worker: " + why);
        Runtime.getRuntime().halt(2);
    }

    /**
     * Does the same work before it counts, in a group of its own that commits nothing and with nobody to tell: the
     * virtual machine compiles meanwhile.
     */
    private static void warm(JsonNode spec, long records) {
        ObjectNode own = spec.deepCopy();
        own.put("group_id", spec.path("group_id").asText() + "-warm").put("commit_every_polls", 0);
        Worker worker = new Worker(own, new Lines(OutputStream.nullOutputStream(), false));
        worker.enough = records;
        worker.deadline = System.nanoTime() + WARM_FOR_AT_MOST_MS * 1_000_000;
        try {
            worker.consume();
            worker.processed.clear();
            worker.consumer.close(CloseOptions.timeout(worker.grace));
        } catch (KafkaException failure) {
            System.err.println("java worker: warming: " + failure);
        }
    }

    private int run(BufferedReader stdin) {
        lines.hello(System.nanoTime(), "kafka-clients " + AppInfoParser.getVersion());
        endOf(stdin);
        try {
            consume();
        } catch (KafkaException failure) {
            System.err.println("java worker: " + failure);
            lines.error(null, failure.toString(), true);
            return 1;
        }
        stop();
        return 0;
    }

    /** The client's defaults but for what the protocol asks for and the properties say. */
    private Properties properties() {
        int most = spec.path("max_poll_records").asInt();
        if (spec.path("max_records").isInt()) {
            most = Math.min(most, spec.path("max_records").asInt());
        }
        Properties properties = new Properties();
        properties.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, spec.path("bootstrap_servers").asText());
        properties.put(ConsumerConfig.GROUP_ID_CONFIG, spec.path("group_id").asText());
        properties.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, most);
        properties.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        properties.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
        properties.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        properties.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        NAMES.forEach((theirs, ours) -> {
            JsonNode value = spec.path("properties").path(theirs);
            if (value.isTextual()) {
                properties.put(ours, value.asText());
            }
        });
        return properties;
    }

    /** Whatever else comes on standard input is not for this version; its end is the order to stop. */
    private void endOf(BufferedReader stdin) {
        Thread reader = new Thread(() -> {
            try {
                while (stdin.read() >= 0) {
                }
            } catch (IOException gone) {
                // As good as its end.
            }
            stop = true;
        }, "stdin");
        reader.setDaemon(true);
        reader.start();
    }

    private void consume() {
        consumer = new KafkaConsumer<>(properties());
        List<String> topics = new ArrayList<>();
        spec.path("topics").forEach(topic -> topics.add(topic.path("name").asText()));
        consumer.subscribe(topics, this);
        Duration slice = Duration.ofMillis(Math.min(spec.path("poll_timeout_ms").asLong(), SLICE_MS));
        double perPollNs = spec.path("processing").path("per_poll_ms").asDouble() * 1e6;
        double perRecordNs = spec.path("processing").path("per_record_us").asDouble() * 1e3;
        long commitEvery = spec.path("commit_every_polls").asLong();
        long patience = System.nanoTime() + JOIN_PATIENCE_MS * 1_000_000;
        while (!stop && enough > 0 && System.nanoTime() - deadline < 0) {
            if (!joined && System.nanoTime() > patience) {
                // Throws where nobody answers.
                consumer.partitionsFor(topics.get(0), Duration.ofMillis(JOIN_PATIENCE_MS / 2));
                joined = true;
            }
            long begin = System.nanoTime();
            ConsumerRecords<byte[], byte[]> batch = poll(slice);
            if (batch.isEmpty()) {
                empty++;
                continue;
            }
            polls++;
            enough -= batch.count();
            lines.poll(polls, begin, System.nanoTime(), batch);
            sleep((long) (perPollNs + batch.count() * perRecordNs));
            processed.putAll(batch.nextOffsets());
            lines.processed(polls);
            if (commitEvery > 0 && polls % commitEvery == 0) {
                commitAsync();
            }
        }
    }

    /** One topic that may not be read does not end the others; what else a poll throws is fatal. */
    private ConsumerRecords<byte[], byte[]> poll(Duration timeout) {
        try {
            return consumer.poll(timeout);
        } catch (TopicAuthorizationException failure) {
            if (!refusal.equals(failure.getMessage())) {
                refusal = failure.getMessage();
                failure.unauthorizedTopics().forEach(topic -> lines.error(topic, failure.toString(), false));
            }
            // It is thrown at once, again and again.
            sleep(100_000_000);
            return ConsumerRecords.empty();
        }
    }

    private void commitAsync() {
        Map<TopicPartition, OffsetAndMetadata> offsets = handOver();
        if (offsets.isEmpty()) {
            return;
        }
        long id = ++commits;
        lines.commitSent(id, offsets);
        unanswered++;
        // The answer comes in a later poll or commitSync, on this thread.
        consumer.commitAsync(offsets, (sent, failure) -> {
            unanswered--;
            if (failure != null) {
                handedOver.clear();
            }
            lines.commitResult(id, failure);
        });
    }

    /** Comes after all asynchronous ones, and says again what may have failed in those that have no answer yet. */
    private void commitSync() {
        if (unanswered > 0) {
            handedOver.clear();
        }
        Map<TopicPartition, OffsetAndMetadata> offsets = handOver();
        if (offsets.isEmpty()) {
            return;
        }
        long id = ++commits;
        lines.commitSent(id, offsets);
        try {
            consumer.commitSync(offsets, grace);
            lines.commitResult(id, null);
        } catch (KafkaException failure) {
            lines.commitResult(id, failure);
        }
    }

    /** What was processed since the last commit. */
    private Map<TopicPartition, OffsetAndMetadata> handOver() {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>(processed);
        offsets.entrySet().removeAll(handedOver.entrySet());
        handedOver.putAll(offsets);
        return offsets;
    }

    private void forget(Collection<TopicPartition> partitions) {
        processed.keySet().removeAll(partitions);
        handedOver.keySet().removeAll(partitions);
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        joined = true;
        if (!partitions.isEmpty()) {
            lines.partitions("assigned", ++generation, partitions, false);
        }
    }

    /** Called within a poll: everything that was returned is processed. Who comes next begins where this one commits. */
    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        if (!partitions.isEmpty()) {
            commitSync();
            forget(partitions);
            lines.partitions("revoked", generation, partitions, false);
        }
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        if (!partitions.isEmpty()) {
            forget(partitions);
            lines.partitions("revoked", generation, partitions, true);
        }
    }

    private void stop() {
        try {
            commitSync();
            consumer.close(CloseOptions.timeout(grace));
        } catch (KafkaException failure) {
            lines.error(null, "closing: " + failure, false);
        }
        lines.bye(polls, empty);
    }

    /** Thread.sleep rounds up to whole milliseconds on Java 17. */
    private static void sleep(long ns) {
        long end = System.nanoTime() + ns;
        for (long left = ns; left > 0; left = end - System.nanoTime()) {
            LockSupport.parkNanos(left);
        }
    }
}
