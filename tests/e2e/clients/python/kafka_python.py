"""kafka-python 3."""

import sys
import time

import common
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition


def rows_of(records):
    for batch in records.values():
        for r in batch:
            yield r.partition, r.offset, r.key, r.value, list(r.headers), r.timestamp


class KafkaPython(common.Adapter):
    def __init__(self, bootstrap):
        super().__init__(bootstrap)
        self.servers = bootstrap.split(",")
        self.admin = KafkaAdminClient(bootstrap_servers=self.servers)

    def consumer(self, **more):
        return KafkaConsumer(bootstrap_servers=self.servers, enable_auto_commit=False, auto_offset_reset="earliest", **more)

    def create_topic(self, topic, partitions):
        self.admin.create_topics({topic: {"num_partitions": partitions}}, timeout_ms=30000)

    def delete_topic(self, topic):
        self.admin.delete_topics([topic], timeout_ms=30000)

    def topics(self):
        return set(self.admin.list_topics())

    def produce(self, topic, messages, codec="none", idempotent=False):
        producer = KafkaProducer(bootstrap_servers=self.servers, compression_type=None if codec == "none" else codec, acks="all",
                                 enable_idempotence=idempotent)
        futures = [producer.send(topic, value=value, key=key, headers=headers, partition=partition, timestamp_ms=timestamp)
                   for partition, key, value, headers, timestamp in messages]
        producer.flush(40)
        offsets = [future.get(20).offset for future in futures]
        producer.close(10)
        return offsets

    def read(self, topic, partitions, count, seconds):
        consumer, read, end = self.consumer(group_id=None), [], time.monotonic() + seconds
        consumer.assign([TopicPartition(topic, p) for p in range(partitions)])
        consumer.seek_to_beginning()
        while len(read) < count and time.monotonic() < end:
            read.extend(rows_of(consumer.poll(200)))
        consumer.close()
        return read

    def watermarks(self, topic, partitions):
        wanted = [TopicPartition(topic, p) for p in range(partitions)]
        consumer = self.consumer(group_id=None)
        low, high = consumer.beginning_offsets(wanted), consumer.end_offsets(wanted)
        consumer.close()
        return [(low[p], high[p]) for p in wanted]

    def offsets_by_time(self, topic, partitions, timestamp):
        wanted = [TopicPartition(topic, p) for p in range(partitions)]
        consumer = self.consumer(group_id=None)
        found = consumer.offsets_for_times({p: timestamp for p in wanted})
        consumer.close()
        return [found[p] and found[p].offset for p in wanted]

    def member(self, topic, group):
        return Member(self, topic, group)

    def committed(self, group, topic, partitions):
        consumer = self.consumer(group_id=group)
        found = [consumer.committed(TopicPartition(topic, p)) for p in range(partitions)]
        consumer.close()
        return found

    def groups(self):
        return {group["group_id"] for group in self.admin.list_groups()}

    def delete_group(self, group):
        self.admin.delete_groups([group])


class Member(common.Member, ConsumerRebalanceListener):
    def __init__(self, adapter, topic, group):
        super().__init__()
        self.adapter, self.topic, self.group_id = adapter, topic, group

    def on_partitions_assigned(self, assigned):
        self.assigned = {p.partition for p in assigned}

    def on_partitions_revoked(self, revoked):
        self.assigned = set()

    def live(self):
        consumer = self.adapter.consumer(group_id=self.group_id, session_timeout_ms=10000, heartbeat_interval_ms=500)
        consumer.subscribe([self.topic], listener=self)
        while not self.stopping.is_set():
            rows = [row[:2] + row[3:4] for row in rows_of(consumer.poll(100))]
            self.read.extend(rows)
            if rows:
                consumer.commit()
        consumer.close()


if __name__ == "__main__":
    sys.exit(common.main(KafkaPython))
