"""librdkafka, through confluent-kafka: a transaction, an admin's requests, a consumer in a group. BROKER is where."""

import os

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

common = {"bootstrap.servers": os.environ["BROKER"], "client.id": "weir-librdkafka"}

producer = Producer({**common, "transactional.id": "weir-transaction"})
producer.init_transactions(10)
producer.begin_transaction()
producer.produce("weir-capture", key=b"key", value=b"value", partition=1, headers={"header": b"x"}, timestamp=1700000000000)
producer.flush(10)

consumer = Consumer({**common, "group.id": "weir-group", "group.instance.id": "weir-instance", "heartbeat.interval.ms": 500,
                     "session.timeout.ms": 6000, "enable.auto.commit": False})
consumer.subscribe(["weir-capture"])
for _ in range(8):
    consumer.poll(0.5)
producer.send_offsets_to_transaction(consumer.position(consumer.assignment()) or [], consumer.consumer_group_metadata(), 10)
producer.commit_transaction(10)
from confluent_kafka import TopicPartition  # noqa: E402

consumer.commit(offsets=[TopicPartition("weir-capture", 1, 5)], asynchronous=False)
consumer.close()

admin = AdminClient(common)
for future in admin.create_topics([NewTopic("weir-created", num_partitions=3, replication_factor=1)]).values():
    future.result()
for future in admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, "weir-capture")]).values():
    try:
        future.result(5)
    except Exception as error:  # an answer without configs is not of interest
        print(error)
for future in admin.delete_topics(["weir-created"]).values():
    future.result()
