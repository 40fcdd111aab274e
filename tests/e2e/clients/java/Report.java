import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.common.KafkaFuture;

/** One line for each feature that is tried, as features.py reads them; and the few assertions that the programs share. */
final class Report {
    interface Try {
        void run() throws Exception;
    }

    private int failures;

    void feature(String name, Try what) {
        try {
            what.run();
            System.out.println("feature\t" + name + "\tok");
        } catch (Exception | AssertionError error) {
            failures++;
            StringWriter trace = new StringWriter();
            error.printStackTrace(new PrintWriter(trace));
            System.out.println("feature\t" + name + "\tFAIL\t" + trace.toString().strip().replace("\n", "\\n").replace("\t", "  "));
        }
    }

    int failures() {
        return failures;
    }

    static void expect(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    static void same(Object expected, Object found, String what) {
        expect(expected.equals(found), what + ": expected " + expected + ", found " + found);
    }

    /** Polls until true; the error names what did not come. */
    static void until(int seconds, String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        while (!condition.call()) {
            expect(System.nanoTime() < end, what + ": not within " + seconds + " s");
            Thread.sleep(20);
        }
    }

    static void refused(Class<? extends Exception> kind, KafkaFuture<?> future, String what) throws Exception {
        try {
            future.get();
        } catch (ExecutionException error) {
            expect(kind.isInstance(error.getCause()), what + ": expected " + kind.getSimpleName() + ", found " + error.getCause());
            return;
        }
        throw new AssertionError(what + ": accepted, but " + kind.getSimpleName() + " was expected");
    }
}
