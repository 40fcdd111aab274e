"""aiokafka. Each call has an event loop of its own; a member's is in its thread."""

import asyncio
import sys
import time

import common
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic


def rows_of(records):
    for batch in records.values():
        for r in batch:
            yield r.partition, r.offset, r.key, r.value, list(r.headers), r.timestamp


class Aio(common.Adapter):
    deletes_groups = False

    def with_admin(self, use):
        async def call():
            admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
            await admin.start()
            try:
                return await use(admin)
            finally:
                await admin.close()
        return asyncio.run(asyncio.wait_for(call(), 60))

    def with_consumer(self, use, **more):
        async def call():
            consumer = self.consumer(**more)
            await consumer.start()
            try:
                return await use(consumer)
            finally:
                await consumer.stop()
        return asyncio.run(asyncio.wait_for(call(), 300))

    def consumer(self, **more):
        return AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest", **more)

    def create_topic(self, topic, partitions):
        answer = self.with_admin(lambda admin: admin.create_topics([NewTopic(topic, partitions, 1)]))
        assert not answer.topic_errors[0][1], f"create {topic}: error {answer.topic_errors[0][1]}"

    def delete_topic(self, topic):
        answer = self.with_admin(lambda admin: admin.delete_topics([topic]))
        assert not answer.topic_error_codes[0][1], f"delete {topic}: error {answer.topic_error_codes[0][1]}"

    def topics(self):
        return set(self.with_admin(lambda admin: admin.list_topics()))

    def produce(self, topic, messages, codec="none", idempotent=False):
        async def call():
            producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, compression_type=None if codec == "none" else codec, acks="all",
                                        enable_idempotence=idempotent, max_batch_size=8192)
            await producer.start()
            try:
                sent = [await producer.send(topic, value, key, partition, timestamp, headers)
                        for partition, key, value, headers, timestamp in messages]
                return [answer.offset for answer in await asyncio.gather(*sent)]
            finally:
                await producer.stop()
        return asyncio.run(asyncio.wait_for(call(), 90))

    def read(self, topic, partitions, count, seconds):
        async def call(consumer):
            read, end = [], time.monotonic() + seconds
            consumer.assign([TopicPartition(topic, p) for p in range(partitions)])
            await consumer.seek_to_beginning()
            while len(read) < count and time.monotonic() < end:
                read.extend(rows_of(await consumer.getmany(timeout_ms=200)))
            return read
        return self.with_consumer(call)

    def watermarks(self, topic, partitions):
        wanted = [TopicPartition(topic, p) for p in range(partitions)]

        async def call(consumer):
            low, high = await consumer.beginning_offsets(wanted), await consumer.end_offsets(wanted)
            return [(low[p], high[p]) for p in wanted]
        return self.with_consumer(call)

    def offsets_by_time(self, topic, partitions, timestamp):
        wanted = [TopicPartition(topic, p) for p in range(partitions)]

        async def call(consumer):
            found = await consumer.offsets_for_times({p: timestamp for p in wanted})
            return [found[p] and found[p].offset for p in wanted]
        return self.with_consumer(call)

    def member(self, topic, group):
        return Member(self, topic, group)

    def committed(self, group, topic, partitions):
        async def call(consumer):
            return [await consumer.committed(TopicPartition(topic, p)) for p in range(partitions)]
        return self.with_consumer(call, group_id=group)

    def groups(self):
        return {row[0] for row in self.with_admin(lambda admin: admin.list_consumer_groups())}


class Member(common.Member, ConsumerRebalanceListener):
    def __init__(self, adapter, topic, group):
        super().__init__()
        self.adapter, self.topic, self.group_id = adapter, topic, group

    def on_partitions_assigned(self, assigned):
        self.assigned = {p.partition for p in assigned}

    def on_partitions_revoked(self, revoked):
        self.assigned = set()

    async def read_on(self):
        consumer = self.adapter.consumer(group_id=self.group_id, session_timeout_ms=10000, heartbeat_interval_ms=500)
        consumer.subscribe([self.topic], listener=self)
        await consumer.start()
        try:
            while not self.stopping.is_set():
                rows = [row[:2] + row[3:4] for row in rows_of(await consumer.getmany(timeout_ms=100))]
                self.read.extend(rows)
                if rows:
                    await consumer.commit()
        finally:
            await consumer.stop()

    def live(self):
        asyncio.run(self.read_on())


if __name__ == "__main__":
    sys.exit(common.main(Aio))
