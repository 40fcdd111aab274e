"""kafka-python: produces, creates and deletes a topic, consumes in a group. BROKER is where."""

import os

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

common = {"bootstrap_servers": os.environ["BROKER"], "client_id": "weir-kafka-python"}

producer = KafkaProducer(acks="all", **common)
producer.send("weir-capture", key=b"key", value=b"value", partition=1, headers=[("header", b"x")], timestamp_ms=1700000000000)
producer.flush(10)
producer.close(5)

admin = KafkaAdminClient(**common)
admin.create_topics([NewTopic("weir-created", num_partitions=3, replication_factor=1, topic_configs={"retention.ms": "1000"})])
admin.delete_topics(["weir-created"])
admin.close()

consumer = KafkaConsumer("weir-capture", group_id="weir-group", **common)
consumer.poll(timeout_ms=3000)
consumer.commit()
consumer.poll(timeout_ms=4000)
consumer.close()
