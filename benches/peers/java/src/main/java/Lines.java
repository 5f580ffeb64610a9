import com.fasterxml.jackson.core.io.JsonStringEncoder;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/**
 * Standard output: lines of JSON, written by hand because a poll's line is on the hot path. Topics' names need no
 * escapes, Kafka allows only letters, digits, '.', '_' and '-' in them. Times are of System.nanoTime, which is
 * CLOCK_MONOTONIC on Linux.
 */
final class Lines {
    /** Half of what the protocol lets a line wait. */
    private static final long FLUSH_EVERY_MS = 50;
    private static final VarHandle ID = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.BIG_ENDIAN);

    private final OutputStream out;
    private final boolean unbuffered;
    private byte[] buffer = new byte[64 * 1024];
    private int used;

    /** To standard output. */
    Lines(boolean unbuffered) {
        this(new FileOutputStream(FileDescriptor.out), unbuffered);
    }

    Lines(OutputStream out, boolean unbuffered) {
        this.out = out;
        this.unbuffered = unbuffered;
        if (!unbuffered) {
            Thread flusher = new Thread(this::flushLate, "stdout");
            flusher.setDaemon(true);
            flusher.start();
        }
    }

    synchronized void hello(long startNs, String client) {
        begin("hello").key("protocol_version").number(1).key("start_ns").number(startNs).key("client").words(client)
                .key("handles").number(1).now();
    }

    synchronized void partitions(String event, long generation, Collection<TopicPartition> partitions, boolean lost) {
        begin(event).key("t_ns").number(System.nanoTime()).key("generation").number(generation).key("partitions");
        char before = '[';
        for (TopicPartition partition : partitions) {
            put(before).place(partition).put('}');
            before = ',';
        }
        put(']');
        if (lost) {
            key("lost").text("true");
        }
        now();
    }

    /** A poll's line, with the runs of consecutive offsets of each partition, in one pass over the records. */
    synchronized void poll(long seq, long beginNs, long returnNs, ConsumerRecords<byte[], byte[]> batch) {
        begin("poll").key("seq").number(seq).key("t_begin_ns").number(beginNs).key("t_return_ns").number(returnNs)
                .key("ranges");
        char before = '[';
        for (TopicPartition partition : batch.partitions()) {
            List<ConsumerRecord<byte[], byte[]>> records = batch.records(partition);
            for (int from = 0, to; from < records.size(); from = to) {
                long first = records.get(from).offset();
                long sum = 0;
                for (to = from; to < records.size(); to++) {
                    ConsumerRecord<byte[], byte[]> record = records.get(to);
                    if (record.offset() != first + (to - from)) {
                        break;
                    }
                    byte[] value = record.value();
                    if (value != null && value.length >= Long.BYTES) {
                        sum += (long) ID.get(value, 0);
                    }
                }
                long count = to - from;
                put(before).place(partition).key("first").number(first).key("last").number(first + count - 1)
                        .key("count").number(count).key("id_sum").unsigned(sum).put('}');
                before = ',';
            }
        }
        put(']').end();
    }

    synchronized void processed(long seq) {
        begin("processed").key("seq").number(seq).key("t_ns").number(System.nanoTime()).end();
    }

    synchronized void commitSent(long id, Map<TopicPartition, OffsetAndMetadata> offsets) {
        begin("commit_sent").key("id").number(id).key("t_ns").number(System.nanoTime()).key("offsets");
        char before = '[';
        for (Map.Entry<TopicPartition, OffsetAndMetadata> entry : offsets.entrySet()) {
            put(before).place(entry.getKey()).key("offset").number(entry.getValue().offset()).put('}');
            before = ',';
        }
        put(']').end();
    }

    synchronized void commitResult(long id, Exception failure) {
        begin("commit_result").key("id").number(id).key("t_ns").number(System.nanoTime());
        if (failure != null) {
            key("error").words(failure.toString());
        }
        end();
    }

    synchronized void error(String topic, String message, boolean fatal) {
        begin("error").key("t_ns").number(System.nanoTime()).key("message").words(message);
        if (topic != null) {
            key("topic").words(topic);
        }
        key("fatal").text(fatal ? "true" : "false").now();
    }

    synchronized void bye(long polls, long empty) {
        begin("bye").key("t_ns").number(System.nanoTime()).key("polls").number(polls).key("empty_polls").number(empty)
                .now();
    }

    private void flushLate() {
        try {
            while (true) {
                Thread.sleep(FLUSH_EVERY_MS);
                synchronized (this) {
                    flush();
                }
            }
        } catch (InterruptedException ended) {
            // With the process.
        }
    }

    private void flush() {
        if (used == 0) {
            return;
        }
        try {
            out.write(buffer, 0, used);
        } catch (IOException gone) {
            System.err.println("java worker: standard output: " + gone);
            Runtime.getRuntime().halt(1);
        }
        used = 0;
    }

    private Lines begin(String event) {
        return text("{\"event\":\"").text(event).put('"');
    }

    /** Ends a line that may wait for its neighbours. */
    private void end() {
        text("}\n");
        if (unbuffered) {
            flush();
        }
    }

    /** Ends a line that the harness waits for. */
    private void now() {
        text("}\n");
        flush();
    }

    private Lines place(TopicPartition partition) {
        return text("{\"topic\":\"").text(partition.topic()).text("\",\"partition\":").number(partition.partition());
    }

    private Lines key(String key) {
        return text(",\"").text(key).text("\":");
    }

    /** Anybody's words, which may need escapes. */
    private Lines words(String words) {
        byte[] escaped = JsonStringEncoder.getInstance().quoteAsUTF8(words);
        put('"').room(escaped.length);
        System.arraycopy(escaped, 0, buffer, used, escaped.length);
        used += escaped.length;
        return put('"');
    }

    /** ASCII without anything to escape. */
    private Lines text(String text) {
        int length = text.length();
        room(length);
        for (int i = 0; i < length; i++) {
            buffer[used + i] = (byte) text.charAt(i);
        }
        used += length;
        return this;
    }

    private Lines number(long number) {
        return text(Long.toString(number));
    }

    private Lines unsigned(long number) {
        return text(Long.toUnsignedString(number));
    }

    private Lines put(char one) {
        room(1);
        buffer[used++] = (byte) one;
        return this;
    }

    private void room(int bytes) {
        if (used + bytes > buffer.length) {
            buffer = Arrays.copyOf(buffer, Math.max(2 * buffer.length, used + bytes));
        }
    }
}
