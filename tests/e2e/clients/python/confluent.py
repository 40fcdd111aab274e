"""confluent-kafka, that is librdkafka."""

import sys
import time

import common
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic


class Confluent(common.Adapter):
    def __init__(self, bootstrap):
        super().__init__(bootstrap)
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.deletes_groups = hasattr(self.admin, "delete_consumer_groups")

    def consumer(self, **more):
        return Consumer({"bootstrap.servers": self.bootstrap, "group.id": "nobody", "enable.auto.commit": False,
                         "auto.offset.reset": "earliest", **{name.replace("_", "."): value for name, value in more.items()}})

    def create_topic(self, topic, partitions):
        for future in self.admin.create_topics([NewTopic(topic, partitions, -1)]).values():
            future.result(30)

    def delete_topic(self, topic):
        for future in self.admin.delete_topics([topic]).values():
            future.result(30)

    def topics(self):
        return set(self.admin.list_topics(timeout=20).topics)

    def produce(self, topic, messages, codec="none", idempotent=False):
        producer = Producer({"bootstrap.servers": self.bootstrap, "compression.type": codec, "enable.idempotence": idempotent,
                             "batch.num.messages": 100})
        offsets = [None] * len(messages)

        def delivered(number):
            def on_delivery(error, message):
                offsets[number] = error or message.offset()
            return on_delivery

        for number, (partition, key, value, headers, timestamp) in enumerate(messages):
            producer.produce(topic, value=value, key=key, partition=partition, on_delivery=delivered(number), timestamp=timestamp,
                             headers=headers)
        left = producer.flush(40)
        assert not left, f"{left} messages not acked: {offsets[:5]}"
        return offsets

    def read(self, topic, partitions, count, seconds):
        consumer, read, end = self.consumer(), [], time.monotonic() + seconds
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
        while len(read) < count and time.monotonic() < end:
            for message in consumer.consume(1000, 0.2):
                if message.error():
                    raise KafkaException(message.error())
                read.append((message.partition(), message.offset(), message.key(), message.value(), message.headers() or [],
                             message.timestamp()[1]))
        consumer.close()
        return read

    def watermarks(self, topic, partitions):
        consumer = self.consumer()
        found = [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20) for p in range(partitions)]
        consumer.close()
        return found

    def offsets_by_time(self, topic, partitions, timestamp):
        consumer = self.consumer()
        found = consumer.offsets_for_times([TopicPartition(topic, p, timestamp) for p in range(partitions)], timeout=20)
        consumer.close()
        return [p.offset if p.offset >= 0 else None for p in found]

    def member(self, topic, group):
        return Member(self, topic, group)

    def committed(self, group, topic, partitions):
        consumer = self.consumer(group_id=group)
        found = consumer.committed([TopicPartition(topic, p) for p in range(partitions)], timeout=20)
        consumer.close()
        return [p.offset if p.offset >= 0 else None for p in found]

    def groups(self):
        return {group.id for group in self.admin.list_groups(timeout=20)}

    def delete_group(self, group):
        for future in self.admin.delete_consumer_groups([group]).values():
            future.result(30)


class Member(common.Member):
    """Cooperative-sticky: partitions move one by one."""

    def __init__(self, adapter, topic, group):
        super().__init__()
        self.adapter, self.topic, self.group = adapter, topic, group

    def live(self):
        consumer = self.adapter.consumer(group_id=self.group, partition_assignment_strategy="cooperative-sticky")
        fresh = False

        def take(partitions):
            self.assigned |= {p.partition for p in partitions}

        def give(partitions):
            self.assigned -= {p.partition for p in partitions}

        consumer.subscribe([self.topic], on_assign=lambda c, partitions: take(partitions), on_revoke=lambda c, partitions: give(partitions))
        while not self.stopping.is_set():
            for message in consumer.consume(100, 0.1):
                if message.error():
                    raise KafkaException(message.error())
                self.read.append((message.partition(), message.offset(), message.value()))
                fresh = True
            if fresh:
                consumer.commit(asynchronous=False)
                fresh = False
        consumer.close()


if __name__ == "__main__":
    sys.exit(common.main(Confluent))
