#!/usr/bin/env python3
"""Turns messages.table into C: structs, defaults, decoders and encoders of every message in every version.

    generate.py messages.table OUTPUT_FOLDER PARTS

writes kafka_messages.h, kafka_messages_0.c ... and kafka_api_table.h. README.md tells how they are used.
"""

import os
import re
import sys
from itertools import groupby

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from message_table import FOREVER, NULLABLE_VIEWS, PRIMITIVES, TableError, len_min, read_table, snake  # noqa: E402

READERS = {
    "int8": "reader_i8(%s)",
    "int16": "reader_i16(%s)",
    "uint16": "reader_u16(%s)",
    "int32": "reader_i32(%s)",
    "int64": "reader_i64(%s)",
    "float64": "reader_f64(%s)",
    "bool": "reader_u8(%s) != 0",
    "uuid": "kafka_read_uuid(%s)",
}
WRITERS = {
    "int8": "buffer_i8(&writer->buffer, %s)",
    "int16": "buffer_i16(&writer->buffer, %s)",
    "uint16": "buffer_u16(&writer->buffer, %s)",
    "int32": "buffer_i32(&writer->buffer, %s)",
    "int64": "buffer_i64(&writer->buffer, %s)",
    "float64": "buffer_f64(&writer->buffer, %s)",
    "bool": "buffer_u8(&writer->buffer, %s ? 1 : 0)",
    "uuid": "kafka_write_uuid(writer, &%s)",
}


def c_type(field):
    if field.struct:
        return f"struct {field.struct.c_name}"
    return PRIMITIVES[field.type][0]


def element_len_min(message, field):
    return len_min(message, field.struct) if field.struct else PRIMITIVES[field.type][1]


def condition(versions, possible):
    """C for "version is one of versions", given that it is one of the possible ones."""
    versions = versions.within(possible)
    if versions.empty():
        return "false"
    tests = []
    if versions.low > possible.low:
        tests.append(f"version >= {versions.low}")
    if versions.high < possible.high:
        tests.append(f"version <= {versions.high}")
    return " && ".join(tests) or "true"


def default_value(field):
    if field.type == "bool":
        return field.default or "false"
    if field.type == "int64" and field.default:
        return f"INT64_C({field.default})"
    if field.default == "-2147483648":
        return "INT32_MIN"
    return field.default or "0"


def non_default(field):
    """C for "this field of message differs from its default"."""
    value = f"message->{field.c_name}"
    if field.is_array:
        return f"{value}_count {'>= 0' if field.default == 'null' else '!= 0'}"
    if field.is_pointer:
        return f"{value} != NULL"
    if field.struct:
        return f"!{field.struct.c_name}_is_default(&{value})"
    if field.type == "uuid":
        return f"!uuid_is_zero(&{value})"
    if field.type == "records":
        return f"{value}.bytes.data || {value}.slices"
    if field.type in NULLABLE_VIEWS:
        if field.default == "null":
            return f"{value}.data != NULL"
        return f"{value}.len != 0" if field.nullable.empty() else f"!{value}.data || {value}.len != 0"
    if field.type == "bool":
        return f"!{value}" if field.default == "true" else value
    return f"{value} != {default_value(field)}"


class StructCode:
    """The C of one struct. Bodies are written first, so that a function takes only the parameters its body names."""

    def __init__(self, message, struct, done):
        self.message = message
        self.struct = struct
        self.done = done  # StructCode by C name, of those already made
        self.is_message = struct is message
        self.decode_body = self.decode()
        self.encode_body = self.encode()

    def uses(self, body, word):
        return any(re.search(rf"(?<!->)\b{word}\b", line) for line in body)

    def decode_parameters(self):
        return [word for word in ("version", "arena") if self.uses(self.decode_body, word)]

    def encode_parameters(self):
        return ["version"] if self.uses(self.encode_body, "version") else []

    def compact(self, field):
        return condition(self.message.flexible, self.struct.versions) if field.flexible else "false"

    def flags(self, field):
        return f"{self.compact(field)}, {condition(field.nullable, self.struct.versions)}"

    # Declarations

    def declaration(self):
        lines = [f"struct {self.struct.c_name} {{"]
        for field in self.struct.fields:
            lines.append(f"\t{self.member(field)};{self.member_comment(field)}")
            if field.is_array:
                lines.append(f"\tint32_t {field.c_name}_count;")
        return lines + ["};"]

    def member(self, field):
        star = "*" if field.is_array or field.is_pointer else ""
        return f"{c_type(field)} {star}{field.c_name}"

    def member_comment(self, field):
        words = []
        versions = field.versions.within(self.message.versions)
        if versions != self.message.versions:
            words.append(f"{versions.low}+" if field.versions.high == FOREVER else f"{versions.low}-{versions.high}")
        if not field.nullable.empty():
            words.append("may be null")
        if field.default:
            words.append(f"default {field.default}")
        return f" // {', '.join(words)}" if words else ""

    def prototypes(self):
        name = self.struct.c_name
        lines = [f"void {name}_init(struct {name} *message);"]
        if not self.is_message:
            lines.append(f"struct {name} *{name}_array(struct arena *arena, int32_t count);")
            return lines
        lines.append(f"MUST_CHECK enum error {name}_decode(")
        lines.append(f"\tstruct {name} *message, struct reader *reader, int16_t version, struct arena *arena);")
        lines.append(f"void {name}_encode(const struct {name} *message, struct kafka_writer *writer, int16_t version);")
        return lines

    # Defaults

    def init(self):
        name = self.struct.c_name
        lines = [f"void {name}_init(struct {name} *message)", "{", f"\t*message = (struct {name}){{0}};"]
        for field in self.struct.fields:
            lines += self.init_field(field)
        lines.append("}")
        if not self.is_message:
            lines += ["", f"struct {name} *{name}_array(struct arena *arena, int32_t count)", "{",
                      f"\tstruct {name} *elements = arena_alloc(arena, (size_t)count * sizeof *elements);",
                      "\tfor (int32_t i = 0; i < count; i++)", f"\t\t{name}_init(&elements[i]);", "\treturn elements;", "}"]
        return lines

    def init_field(self, field):
        value = f"message->{field.c_name}"
        if field.is_array:
            return [f"\t{value}_count = -1;"] if field.default == "null" else []
        if field.is_pointer:
            return []
        if field.struct:
            return [f"\t{field.struct.c_name}_init(&{value});"]
        if field.type in ("string", "bytes"):
            return [] if field.default == "null" else [f"\t{value} = (struct bytes){{(const uint8_t *)\"\", 0}};"]
        if default_value(field) in ("0", "false"):
            return []
        return [f"\t{value} = {default_value(field)};"]

    def is_default(self):
        name = self.struct.c_name
        tests = [non_default(field) for field in self.struct.fields]
        return [f"static bool {name}_is_default(const struct {name} *message)", "{",
                "\treturn !(" + " ||\n\t\t".join(f"({test})" for test in tests) + ");", "}"]

    # Decoding

    def decode(self):
        parts = [(field.versions, self.decode_field(field, "reader")) for field in self.struct.untagged()]
        return self.in_versions(parts + [(self.message.flexible, self.decode_tags())])

    def in_versions(self, parts):
        """(versions, body) in sequence, neighbours of the same versions under one condition."""
        lines = []
        for test, group in groupby(parts, lambda part: condition(part[0], self.struct.versions)):
            body = [line for _, part in group for line in part]
            if test == "true":
                lines += body
            elif test != "false":
                lines += [f"if ({test}) {{"] + ["\t" + line for line in body] + ["}"]
        return lines

    def decode_tags(self):
        fields = self.struct.tagged()
        if not fields:
            return ["kafka_skip_tags(reader);"]
        lines = ["struct kafka_tags tags = kafka_tags_of(reader);", "while (kafka_tags_next(&tags)) {"]
        word = "if"
        for field in fields:
            test = condition(field.versions.within(self.message.flexible), self.message.flexible.within(self.struct.versions))
            test = "" if test == "true" else f" && {test}"
            lines.append(f"\t{word} (tags.tag == {field.tag}{test}) {{")
            lines += ["\t\t" + line for line in self.decode_field(field, "&tags.field")]
            word = "} else if"
        return lines + ["\t} else {", "\t\tkafka_tags_skip(&tags);", "\t}", "}"]

    def decode_field(self, field, reader):
        value = f"message->{field.c_name}"
        if field.is_array:
            return self.decode_array(field, reader)
        if field.is_pointer:
            return [f"if (kafka_read_present({reader})) {{",
                    f"\t{value} = kafka_read_alloc({reader}, arena, 1, sizeof *{value});",
                    f"\tif ({value})", f"\t\t{self.decode_struct(field.struct, value, reader)}", "}"]
        if field.struct:
            return [self.decode_struct(field.struct, f"&{value}", reader)]
        return [f"{value} = {self.read(field, reader)};"]

    def read(self, field, reader):
        if field.type in NULLABLE_VIEWS:
            flags = f"{self.compact(field)}, false" if field.is_array else self.flags(field)
            return f"kafka_read_{field.type}({reader}, {flags})"
        return READERS[field.type] % reader

    def decode_struct(self, struct, value, reader):
        parameters = "".join(", " + word for word in self.done[struct.c_name].decode_parameters())
        return f"{struct.c_name}_decode_fields({value}, {reader}{parameters});"

    def decode_array(self, field, reader):
        value = f"message->{field.c_name}"
        failed = "reader->failed" if reader == "reader" else "tags.field.failed"
        lines = [f"{value}_count = kafka_read_count({reader}, {self.flags(field)}, {element_len_min(self.message, field)});",
                 f"{value} = kafka_read_alloc({reader}, arena, {value}_count, sizeof *{value});",
                 f"for (int32_t i = 0; i < {value}_count && !{failed}; i++)"]
        if field.struct:
            return lines + ["\t" + self.decode_struct(field.struct, f"&{value}[i]", reader)]
        return lines + [f"\t{value}[i] = {self.read(field, reader)};"]

    def decode_function(self):
        name = self.struct.c_name
        types = {"version": "int16_t version", "arena": "struct arena *arena"}
        parameters = "".join(", " + types[word] for word in self.decode_parameters())
        lines = [f"static void {name}_decode_fields(struct {name} *message, struct reader *reader{parameters})", "{"]
        if not self.is_message:
            lines.append(f"\t{name}_init(message);")
        lines += ["\t" + line for line in self.decode_body] + ["}"]
        return lines + ([""] + self.decode_message() if self.is_message else [])

    def decode_message(self):
        name = self.struct.c_name
        parameters = "".join(", " + word for word in self.decode_parameters())
        ignored = [] if "arena" in parameters else ["\t(void)arena;"]
        return [f"enum error {name}_decode(",
                f"\tstruct {name} *message, struct reader *reader, int16_t version, struct arena *arena)", "{", *ignored,
                f"\t{name}_init(message);",
                f"\tif (version < {self.message.versions.low} || version > {self.message.versions.high})",
                "\t\treturn ERROR_MALFORMED;",
                f"\t{name}_decode_fields(message, reader{parameters});",
                "\tif (!reader->failed)", "\t\treturn ERROR_OK;",
                f"\t{name}_init(message);", "\treturn ERROR_MALFORMED;", "}"]

    # Encoding

    def encode(self):
        lines = []
        for field in self.struct.fields:
            test = condition(field.versions, self.struct.versions)
            if test != "true" and not field.ignorable:
                lines += self.refuse(field, test)
        parts = [(field.versions, self.encode_field(field)) for field in self.struct.untagged()]
        return lines + self.in_versions(parts + [(self.message.flexible, self.encode_tags())])

    def refuse(self, field, test):
        """Where the version has no such field and it may not be dropped."""
        absent = "" if test == "false" else f"!({test}) && "
        return [f"if ({absent}({non_default(field)}))", "\tkafka_writer_fail(writer);"]

    def encode_tags(self):
        lines = []
        possible = self.message.flexible.within(self.struct.versions)
        for field in self.struct.tagged():
            test = condition(field.versions, possible)
            has = non_default(field) if test == "true" else f"({test}) && ({non_default(field)})"
            lines.append(f"bool has_{field.c_name} = {has};")
        count = " + ".join(f"(has_{field.c_name} ? 1 : 0)" for field in self.struct.tagged())
        lines.append(f"kafka_write_tag_count(writer, {count or 0});")
        for field in self.struct.tagged():
            lines += [f"if (has_{field.c_name}) {{", f"\tsize_t begin = kafka_write_tag_begin(writer, {field.tag});"]
            lines += ["\t" + line for line in self.encode_field(field)]
            lines += ["\tkafka_write_tag_end(writer, begin);", "}"]
        return lines

    def encode_field(self, field):
        value = f"message->{field.c_name}"
        if field.is_array:
            lines = [f"kafka_write_count(writer, {value}_count, {self.flags(field)});",
                     f"for (int32_t i = 0; i < {value}_count; i++)"]
            return lines + ["\t" + self.write(field, f"{value}[i]")]
        if field.is_pointer:
            return [f"kafka_write_present(writer, {value} != NULL);", f"if ({value})",
                    "\t" + self.encode_struct(field.struct, value)]
        return [self.write(field, value)]

    def write(self, field, value):
        if field.struct:
            return self.encode_struct(field.struct, f"&{value}")
        if field.type in NULLABLE_VIEWS:
            flags = f"{self.compact(field)}, false" if field.is_array else self.flags(field)
            address = "&" if field.type == "records" else ""
            return f"kafka_write_{field.type}(writer, {address}{value}, {flags});"
        return WRITERS[field.type] % value + ";"

    def encode_struct(self, struct, value):
        parameters = "".join(", " + word for word in self.done[struct.c_name].encode_parameters())
        return f"{struct.c_name}_encode_fields({value}, writer{parameters});"

    def encode_function(self):
        name = self.struct.c_name
        parameters = ", int16_t version" if self.encode_parameters() else ""
        lines = [f"static void {name}_encode_fields(const struct {name} *message, struct kafka_writer *writer{parameters})",
                 "{"] + ["\t" + line for line in self.encode_body] + ["}"]
        return lines + ([""] + self.encode_message() if self.is_message else [])

    def encode_message(self):
        name = self.struct.c_name
        version = ", version" if self.encode_parameters() else ""
        return [f"void {name}_encode(const struct {name} *message, struct kafka_writer *writer, int16_t version)", "{",
                f"\tif (version < {self.message.versions.low} || version > {self.message.versions.high})",
                "\t\tkafka_writer_fail(writer);", "\telse",
                f"\t\t{name}_encode_fields(message, writer{version});", "}"]

    # All of it

    def definitions(self, needs_is_default):
        lines = [""] + self.init()
        if self.struct.c_name in needs_is_default:
            lines += [""] + self.is_default()
        return lines + [""] + self.decode_function() + [""] + self.encode_function()


class MessageCode:
    def __init__(self, message):
        self.codes = {}
        for struct in message.structs:
            self.codes[struct.c_name] = StructCode(message, struct, self.codes)
        self.message = message

    def header(self):
        message = self.message
        key = f", API key {message.key}" if message.key >= 0 else ""
        flexible = "" if message.flexible.empty() else f", flexible from {message.flexible.low}"
        lines = ["", f"// {message.name}: versions {message.versions.low} to {message.versions.high}{flexible}{key}."]
        for code in self.codes.values():
            lines += code.declaration()
        for code in self.codes.values():
            lines += code.prototypes()
        return lines

    def source(self):
        needs = self.needs_is_default()
        lines = ["", f"// {self.message.name}"]
        for code in self.codes.values():
            lines += code.definitions(needs)
        return lines

    def needs_is_default(self):
        """The structs whose comparison with the default is called: by an encoder, or by another such comparison."""
        needs = set()
        for code in reversed(list(self.codes.values())):
            called_here = code.encode_body + (code.is_default() if code.struct.c_name in needs else [])
            for name in self.codes:
                if any(f"!{name}_is_default(" in line for line in called_here):
                    needs.add(name)
        return needs


HEADER_TOP = """#pragma once
// Generated by proto/kafka/generate.py from messages.table. Every message of the Kafka protocol as a struct holding the fields of
// all its versions; what a version lacks has its default. proto/kafka/README.md tells how they are used.
//
// x_init sets all defaults; x_array gives count such elements from the arena. x_decode gives ERROR_OK or ERROR_MALFORMED (also
// if the arena's limit is reached, and for a version the table lacks) and then leaves the defaults; views point into what the
// reader reads, arrays live in the arena; bytes after the message are the caller's to check with reader_finished(). x_encode
// fails the writer if a value does not fit the version.
// An array's count is -1 for null. A string's or bytes' data is NULL for null. A struct that may be null is a pointer.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/error.h"
#include "proto/kafka/kafka_types.h"
#include "proto/kafka/kafka_writer.h"
""".split("\n")

SOURCE_TOP = """// Generated by proto/kafka/generate.py from messages.table.

#include "proto/kafka/kafka_messages.h"

#include "proto/kafka/kafka_reader.h"
""".split("\n")


def api_table(messages):
    lines = ["#pragma once", "// Generated by proto/kafka/generate.py from messages.table.",
             "// X(name, text, key, first version, last released version, first flexible version)",
             "#define KAFKA_API_TABLE(X) \\"]
    rows = []
    for message in messages:
        if message.kind == "request":
            text = message.name.removesuffix("Request")
            last = message.versions.high - (1 if message.unstable else 0)
            flexible = "INT16_MAX" if message.flexible.empty() else message.flexible.low
            rows.append(f"\tX({snake(text).upper()}, \"{text}\", {message.key}, {message.versions.low}, {last}, {flexible})")
    return lines + [" \\\n".join(rows)]


def write(folder, name, lines):
    with open(os.path.join(folder, name), "w", encoding="ascii") as file:
        file.write("\n".join(lines).rstrip("\n") + "\n")


def main():
    table, folder, parts = sys.argv[1], sys.argv[2], int(sys.argv[3])
    try:
        messages = read_table(table)
    except TableError as error:
        sys.exit(f"{table}: {error}")
    codes = [MessageCode(message) for message in messages]
    os.makedirs(folder, exist_ok=True)
    write(folder, "kafka_messages.h", HEADER_TOP + [line for code in codes for line in code.header()])
    write(folder, "kafka_api_table.h", api_table(messages))
    sources = [[] for _ in range(parts)]
    for code in codes:  # always to the shortest part, so that they compile in about the same time
        min(sources, key=len).extend(code.source())
    for part, lines in enumerate(sources):
        write(folder, f"kafka_messages_{part}.c", SOURCE_TOP + lines)


if __name__ == "__main__":
    main()
