"""The main job while each of the four daemons in turn is killed with SIGKILL and started again by the supervisor: an idempotent
producer loses nothing that was acked, and nothing is doubled or reordered."""

import sys
import threading

import harness


class Load(threading.Thread):
    """Sends all records, at most so many in flight, and counts the acks."""

    def __init__(self, bootstrap, topic, records):
        super().__init__(daemon=True)
        self.bootstrap, self.topic, self.records = bootstrap, topic, records
        self.acked, self.failed, self.allowed = 0, [], 0
        self.wake = threading.Condition()

    def delivered(self, error, message):
        if error:
            self.failed.append((harness.number_of(message.value()), str(error)))
        else:
            self.acked += 1

    def allow(self, count):
        """Lets the load go on up to this many records."""
        with self.wake:
            self.allowed = count
            self.wake.notify()

    def run(self):
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True, "acks": "all",
                             "message.timeout.ms": 120000, "linger.ms": 5, "batch.num.messages": 200})
        for number, (key, value) in enumerate(self.records):
            while number >= self.allowed:
                producer.poll(0.01)
            while True:
                try:
                    producer.produce(self.topic, value, key, on_delivery=self.delivered)
                    break
                except BufferError:
                    producer.poll(0.05)
            producer.poll(0)
        producer.flush(120)


def main():
    records = harness.packages()
    with harness.Cluster() as cluster:
        harness.create_topic(cluster.bootstrap, "packages", 12)
        load = Load(cluster.bootstrap, "packages", records)
        load.start()
        victims = ["writer-0", "frontend-0", "coordinator-0", "reader-0"] * 2
        share = len(records) // (len(victims) + 1)
        for turn, victim in enumerate(victims):
            # The load runs into the kill: it may send a whole share more while only half of that must be acked.
            load.allow((turn + 2) * share)
            harness.until(120, "acks", lambda: load.acked >= turn * share + share // 2 or load.failed)
            cluster.kill(victim)
            print(f"killed {victim} with {load.acked} acked, {len(load.failed)} failed")
        load.allow(len(records))
        load.join(180)
        assert not load.is_alive(), f"the producer does not end: {load.acked} of {len(records)} acked"
        assert not load.failed, f"{len(load.failed)} sends failed, the first: {load.failed[0]}"
        assert load.acked == len(records)
        read = harness.kcat_read(cluster.bootstrap, "packages")
        harness.check_read_back(records, read)
        print(f"{len(read)} records: all acked ones, once, in order")


if __name__ == "__main__":
    sys.exit(main())
