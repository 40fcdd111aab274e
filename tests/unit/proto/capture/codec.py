"""The Kafka messages of messages.table as Python dictionaries, for the recording broker."""

import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../../proto/kafka"))

from message_table import read_table  # noqa: E402

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../../proto/kafka/messages.table")
FORMATS = {"bool": ">?", "int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "int64": ">q", "float64": ">d", "uuid": "16s"}


def uvarint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


class Input:
    def __init__(self, data):
        self.data = data
        self.pos = 0

    def take(self, count):
        self.pos += count
        return self.data[self.pos - count : self.pos]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def uvarint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7


class Codec:
    def __init__(self):
        self.messages = {message.name: message for message in read_table(TABLE)}
        self.names = {m.key: m.name.removesuffix("Request") for m in self.messages.values() if m.kind == "request"}

    def flexible(self, name, version):
        return version in self.messages[name].flexible

    def encode(self, name, version, values):
        message = self.messages[name]
        return self.encode_struct(message, values, version, version in message.flexible)

    def encode_struct(self, struct_, values, version, flexible):
        out = b"".join(self.encode_field(field, values.get(field.name), version, flexible and field.flexible)
                       for field in struct_.untagged() if version in field.versions)
        if not flexible:
            return out
        tags = [(field.tag, self.encode_field(field, values[field.name], version, True))
                for field in struct_.tagged() if field.name in values and version in field.versions]
        return out + uvarint(len(tags)) + b"".join(uvarint(tag) + uvarint(len(value)) + value for tag, value in tags)

    def encode_field(self, field, value, version, compact):
        if field.is_pointer:
            return b"\xff" if value is None else b"\x01" + self.encode_struct(field.struct, value, version, compact)
        if field.is_array:
            if value is None and field.default != "null":
                value = []
            items = b"".join(self.encode_value(field, item, version, compact) for item in value or [])
            return self.length(value, ">i", compact) + items
        return self.encode_value(field, value, version, compact)

    def encode_value(self, field, value, version, compact):
        if field.struct:
            return self.encode_struct(field.struct, value or {}, version, compact)
        if field.type in ("string", "bytes", "records"):
            if value is None and field.default != "null" and field.type != "records":
                value = b""
            value = value.encode() if isinstance(value, str) else value
            return self.length(value, ">h" if field.type == "string" else ">i", compact) + (value or b"")
        if value is None:
            value = b"\0" * 16 if field.type == "uuid" else int(field.default) if field.default.lstrip("-").isdigit() else 0
        return struct.pack(FORMATS[field.type], value)

    def length(self, value, form, compact):
        count = -1 if value is None else len(value)
        return uvarint(count + 1) if compact else struct.pack(form, count)

    def decode(self, name, version, data):
        message = self.messages[name]
        return self.decode_struct(message, data, version, version in message.flexible)

    def decode_struct(self, struct_, data, version, flexible):
        values = {field.name: self.decode_field(field, data, version, flexible and field.flexible)
                  for field in struct_.untagged() if version in field.versions}
        if flexible:
            for _ in range(data.uvarint()):
                data.uvarint()
                data.take(data.uvarint())
        return values

    def decode_field(self, field, data, version, compact):
        if field.is_pointer and data.number(">b") < 0:
            return None
        if field.is_array:
            count = data.uvarint() - 1 if compact else data.number(">i")
            return None if count < 0 else [self.decode_value(field, data, version, compact) for _ in range(count)]
        return self.decode_value(field, data, version, compact)

    def decode_value(self, field, data, version, compact):
        if field.struct:
            return self.decode_struct(field.struct, data, version, compact)
        if field.type in ("string", "bytes", "records"):
            count = data.uvarint() - 1 if compact else data.number(">h" if field.type == "string" else ">i")
            return None if count < 0 else data.take(count)
        return data.number(FORMATS[field.type])
