#!/usr/bin/env python3
"""A broker that stores nothing and writes down what a client sends: the first request of each API and version.

    record.py OUTPUT COMMAND...

runs COMMAND with BROKER in its environment, answers it well enough to go on, and writes the requests to OUTPUT when it ends: a
line "key version hex" each, without the length before the frame. README.md tells which commands we ran.
"""

import os
import socket
import subprocess
import sys
import threading

from codec import Codec, Input

TOPIC_ID = bytes(range(16))
FRAME_BYTES_MAX = 4000
PRODUCE = 0
API_VERSIONS = 18


def partitions(request, topics, items):
    return [(topic, item) for topic in request[topics] or [] for item in topic[items] or []]


class Broker:
    def __init__(self):
        self.codec = Codec()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.frames = {}
        self.lock = threading.Lock()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.converse, args=(connection,), daemon=True).start()

    def converse(self, connection):
        with connection, connection.makefile("rb") as stream:
            while len(prefix := stream.read(4)) == 4:
                frame = stream.read(int.from_bytes(prefix, "big"))
                try:
                    answer = self.answer(frame)
                    connection.sendall(len(answer).to_bytes(4, "big") + answer)
                except (OSError, KeyError) as error:
                    print("gone:", repr(error), file=sys.stderr)
                    return

    def answer(self, frame):
        key, version = (int.from_bytes(frame[i : i + 2], "big") for i in (0, 2))
        name = self.codec.names[key]
        flexible = self.codec.flexible(name + "Request", version)
        data = Input(frame)
        header = self.codec.decode("RequestHeader", 2 if flexible else 1, data)
        with self.lock:
            if len(frame) <= FRAME_BYTES_MAX:
                self.frames.setdefault((key, version), frame)
        request = self.codec.decode(name + "Request", version, data)
        print(name, version, file=sys.stderr)
        values = getattr(self, name, lambda *_: {})(version, request)
        prefix = {"CorrelationId": header["CorrelationId"]}
        answer = self.codec.encode("ResponseHeader", 1 if flexible and key != API_VERSIONS else 0, prefix)
        return answer + self.codec.encode(name + "Response", version, values)

    def ApiVersions(self, version, request):
        keys = []
        for key in self.codec.names:
            message = self.codec.messages[self.codec.names[key] + "Request"]
            low = 0 if key == PRODUCE else message.versions.low
            keys.append({"ApiKey": key, "MinVersion": low, "MaxVersion": message.versions.high - message.unstable})
        return {"ApiKeys": keys}

    def Metadata(self, version, request):
        asked = request["Topics"] or [{"Name": b"weir-capture"}]
        topics = []
        for topic in asked:
            items = [{"PartitionIndex": i, "LeaderId": 1, "LeaderEpoch": 0, "ReplicaNodes": [1], "IsrNodes": [1]} for i in (0, 1)]
            topics.append({"Name": topic["Name"] or b"weir-capture", "TopicId": TOPIC_ID, "Partitions": items})
        brokers = [{"NodeId": 1, "Host": "127.0.0.1", "Port": self.port}]
        return {"Brokers": brokers, "ClusterId": "capture", "ControllerId": 1, "Topics": topics}

    def DescribeCluster(self, version, request):
        return {"ClusterId": "capture", "ControllerId": 1, "Brokers": [{"BrokerId": 1, "Host": "127.0.0.1", "Port": self.port}]}

    def InitProducerId(self, version, request):
        return {"ProducerId": 7, "ProducerEpoch": 0}

    def Produce(self, version, request):
        topics = [{"Name": t.get("Name"), "TopicId": t.get("TopicId"),
                   "PartitionResponses": [{"Index": p["Index"], "BaseOffset": 0} for p in t["PartitionData"]]}
                  for t in request["TopicData"]]
        return {"Responses": topics}

    def FindCoordinator(self, version, request):
        where = {"NodeId": 1, "Host": "127.0.0.1", "Port": self.port}
        return {**where, "Coordinators": [{"Key": key, **where} for key in request.get("CoordinatorKeys", [])]}

    def JoinGroup(self, version, request):
        if version >= 4 and not request["MemberId"] and not request.get("GroupInstanceId"):
            return {"ErrorCode": 79, "MemberId": "member-1", "GenerationId": -1, "ProtocolName": ""}
        first = request["Protocols"][0]
        member = request["MemberId"] or b"member-1"
        return {"GenerationId": 1, "ProtocolType": request["ProtocolType"], "ProtocolName": first["Name"], "Leader": member,
                "MemberId": member, "Members": [{"MemberId": member, "Metadata": first["Metadata"]}]}

    def SyncGroup(self, version, request):
        mine = request["Assignments"][0]["Assignment"] if request["Assignments"] else b""
        return {"ProtocolType": request.get("ProtocolType"), "ProtocolName": request.get("ProtocolName"), "Assignment": mine}

    def OffsetFetch(self, version, request):
        def topics_of(topics):
            return [{**topic, "Partitions": [{"PartitionIndex": p, "CommittedOffset": -1, "Metadata": ""}
                                             for p in topic["PartitionIndexes"]]} for topic in topics or []]
        groups = [{"GroupId": group["GroupId"], "Topics": topics_of(group["Topics"])} for group in request.get("Groups", [])]
        return {"Topics": topics_of(request.get("Topics")), "Groups": groups}

    def OffsetCommit(self, version, request):
        topics = [{**topic, "Partitions": [{"PartitionIndex": p["PartitionIndex"]} for p in topic["Partitions"]]}
                  for topic in request["Topics"]]
        return {"Topics": topics}

    def ListOffsets(self, version, request):
        topics = [{"Name": topic["Name"], "Partitions": [{"PartitionIndex": p["PartitionIndex"], "Timestamp": -1, "Offset": 0,
                                                          "LeaderEpoch": 0} for p in topic["Partitions"]]}
                  for topic in request["Topics"]]
        return {"Topics": topics}

    def Fetch(self, version, request):
        threading.Event().wait(min(request["MaxWaitMs"], 200) / 1000)
        topics = [{"Topic": topic.get("Topic"), "TopicId": topic.get("TopicId"),
                   "Partitions": [{"PartitionIndex": p["Partition"], "HighWatermark": 0, "LastStableOffset": 0,
                                   "LogStartOffset": 0, "AbortedTransactions": [], "Records": b""}
                                  for p in topic["Partitions"]]} for topic in request["Topics"]]
        return {"Responses": topics}

    def LeaveGroup(self, version, request):
        return {"Members": [{"MemberId": member["MemberId"]} for member in request.get("Members", [])]}

    def ConsumerGroupHeartbeat(self, version, request):
        return {"MemberId": request["MemberId"], "MemberEpoch": 1, "HeartbeatIntervalMs": 500, "Assignment": None}

    def CreateTopics(self, version, request):
        return {"Topics": [{"Name": topic["Name"], "TopicId": TOPIC_ID, "NumPartitions": 2, "ReplicationFactor": 1}
                           for topic in request["Topics"]]}

    def DeleteTopics(self, version, request):
        names = request.get("TopicNames") or [topic["Name"] for topic in request.get("Topics", [])]
        return {"Responses": [{"Name": name, "TopicId": TOPIC_ID} for name in names]}

    def DescribeConfigs(self, version, request):
        return {"Results": [{"ResourceType": r["ResourceType"], "ResourceName": r["ResourceName"]} for r in request["Resources"]]}

    def AddPartitionsToTxn(self, version, request):
        topics = [{"Name": topic["Name"], "ResultsByPartition": [{"PartitionIndex": p} for p in topic["Partitions"]]}
                  for topic in request["V3AndBelowTopics"]] if version <= 3 else []
        return {"ResultsByTopicV3AndBelow": topics}

    def TxnOffsetCommit(self, version, request):
        return self.OffsetCommit(version, request)


def main():
    broker = Broker()
    threading.Thread(target=broker.serve, daemon=True).start()
    environment = {**os.environ, "BROKER": f"127.0.0.1:{broker.port}"}
    try:
        subprocess.run(sys.argv[2:], env=environment, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        print("the client did not end", file=sys.stderr)
    with broker.lock, open(sys.argv[1], "w", encoding="ascii") as file:
        for (key, version), frame in sorted(broker.frames.items()):
            file.write(f"{key} {version} {frame.hex()}\n")


if __name__ == "__main__":
    main()
