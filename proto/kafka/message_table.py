"""Reads messages.table (README.md tells its format) into messages, structs and fields, and refuses what does not fit."""

import re
from dataclasses import dataclass, field as dataclass_field

FOREVER = 0x7FFF

# Table type -> (C type, fewest bytes on the wire). Strings, bytes and records have a one-byte length when compact.
PRIMITIVES = {
    "bool": ("bool", 1),
    "int8": ("int8_t", 1),
    "int16": ("int16_t", 2),
    "uint16": ("uint16_t", 2),
    "int32": ("int32_t", 4),
    "int64": ("int64_t", 8),
    "float64": ("double", 8),
    "uuid": ("struct uuid", 16),
    "string": ("struct bytes", 1),
    "bytes": ("struct bytes", 1),
    "records": ("struct kafka_records", 1),
}
NULLABLE_VIEWS = {"string", "bytes", "records"}

# What a field may not be called in C.
KEYWORDS = set("auto break case char const continue default do double else enum extern float for goto if inline int long "
               "register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while "
               "bool true false".split())


class TableError(Exception):
    """What main programs print before they give up. A ValueError on the way is told with its line."""


@dataclass(frozen=True)
class Versions:
    low: int
    high: int

    @staticmethod
    def parse(text):
        if text == "none":
            return Versions(FOREVER, -1)
        match = re.fullmatch(r"(\d+)(\+|-(\d+))?", text)
        if not match:
            raise ValueError(f"bad versions {text!r}")
        low = int(match[1])
        high = FOREVER if match[2] == "+" else int(match[3] or low)
        return Versions(low, high)

    def within(self, other):
        return Versions(max(self.low, other.low), min(self.high, other.high))

    def empty(self):
        return self.low > self.high

    def __contains__(self, version):
        return self.low <= version <= self.high


NO_VERSIONS = Versions.parse("none")


@dataclass
class Field:
    name: str
    type: str  # of the element, for an array
    is_array: bool
    versions: Versions
    nullable: Versions = NO_VERSIONS
    tag: int | None = None
    default: str = ""
    ignorable: bool = False
    flexible: bool = True
    struct: "Struct | None" = None

    @property
    def c_name(self):
        return snake(self.name)

    @property
    def is_pointer(self):
        """A nullable struct is a pointer, NULL being null."""
        return self.struct is not None and not self.is_array and not self.nullable.empty()


@dataclass
class Struct:
    name: str
    c_name: str
    versions: Versions  # in which it may appear
    fields: list[Field] = dataclass_field(default_factory=list)

    def tagged(self):
        return sorted((f for f in self.fields if f.tag is not None), key=lambda f: f.tag)

    def untagged(self):
        return [f for f in self.fields if f.tag is None]


@dataclass
class Message(Struct):
    kind: str = ""  # header, request, response or data
    key: int = -1
    flexible: Versions = NO_VERSIONS
    unstable: bool = False  # the last version is not yet released
    structs: list[Struct] = dataclass_field(default_factory=list)  # each after those it uses; the message itself is last


def snake(name):
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"([A-Z])([A-Z][a-z])", r"\1_\2", name).lower()


def is_default(type_name, text):
    if type_name == "bool":
        return text in ("true", "false")
    return "int" in type_name and re.fullmatch(r"-?\d+", text) is not None


def lines_of(path):
    """(line number, depth, words) of each line that says something."""
    with open(path, encoding="ascii") as file:
        for number, line in enumerate(file, 1):
            text = line.rstrip("\n")
            words = text.split("#")[0].split()
            if words:
                yield number, len(text) - len(text.lstrip("\t")), words


def tree_of(path):
    """Lines as (number, words, children)."""
    root = []
    stack = [root]
    for number, depth, words in lines_of(path):
        if depth >= len(stack):
            raise TableError(f"line {number}: indented too far")
        del stack[depth + 1:]
        node = (number, words, [])
        stack[depth].append(node)
        stack.append(node[2])
    return root


class MessageParser:
    def __init__(self, node):
        number, words, self.children = node
        options = dict(word.partition("=")[::2] for word in words[2:])
        c_name = "kafka_" + snake(words[1])
        self.message = Message(words[1], c_name, Versions.parse(options.pop("versions")), kind=words[0])
        self.message.key = int(options.pop("key", -1))
        self.message.flexible = Versions.parse(options.pop("flexible"))
        self.message.unstable = options.pop("unstable", None) is not None
        self.common = {child[1][1]: child for child in self.children if child[1][0] == "struct"}
        self.structs = {}
        if options or words[0] not in ("header", "request", "response", "data"):
            raise TableError(f"line {number}: not a message")

    def parse(self):
        fields = [child for child in self.children if child[1][0] != "struct"]
        self.parse_fields(self.message, fields)
        self.message.structs = list(self.structs.values()) + [self.message]
        return self.message

    def parse_fields(self, struct, nodes):
        for node in nodes:
            try:
                struct.fields.append(self.parse_field(struct, node))
            except (IndexError, KeyError, ValueError) as error:
                raise TableError(f"line {node[0]}: {error!r}") from error
        names = [field.c_name for field in struct.fields]
        names += [field.c_name + "_count" for field in struct.fields if field.is_array]
        tags = [field.tag for field in struct.tagged()]
        if len(set(names)) != len(names) or len(set(tags)) != len(tags) or KEYWORDS & set(names):
            raise TableError(f"{struct.name}: a name or tag is used twice, or is C's")

    def parse_field(self, struct, node):
        _, words, children = node
        options = dict(word.partition("=")[::2] for word in words[3:])
        type_name = words[1].removeprefix("[]")
        field = Field(words[0], type_name, type_name != words[1], Versions.parse(words[2]))
        field.nullable = Versions.parse(options.pop("nullable", "none")).within(field.versions).within(struct.versions)
        field.tag = int(options.pop("tag")) if "tag" in options else None
        field.default = options.pop("default", "")
        field.ignorable = options.pop("ignorable", None) is not None
        field.flexible = options.pop("inflexible", None) is None
        if options:
            raise ValueError(f"unknown option {options}")
        if type_name not in PRIMITIVES:
            field.struct = self.struct_of(type_name, children, field.versions.within(struct.versions))
        self.check(struct, field)
        return field

    def check(self, struct, field):
        versions = field.versions.within(struct.versions)
        if field.tag is not None and versions.low < self.message.flexible.low:
            raise ValueError("tagged before the first flexible version")
        if field.is_pointer and (field.tag is not None or field.default != "null" or field.nullable != versions):
            raise ValueError("a nullable struct must be untagged, null by default, and nullable throughout")
        if field.default == "null" and field.nullable.empty():
            raise ValueError("null by default, but never nullable")
        if field.default not in ("", "null") and (field.is_array or not is_default(field.type, field.default)):
            raise ValueError(f"{field.default!r} cannot be the default")

    def struct_of(self, name, children, versions):
        if name in self.structs:
            if children:
                raise ValueError(f"struct {name} told twice")
            return self.structs[name]
        if not children:
            children = self.common[name][2]
            versions = self.message.versions
        struct = Struct(name, f"{self.message.c_name}_{snake(name)}", versions)
        self.parse_fields(struct, children)
        self.structs[name] = struct
        return struct


def read_table(path):
    messages = [MessageParser(node).parse() for node in tree_of(path)]
    names = [struct.c_name for message in messages for struct in message.structs]
    if len(set(names)) != len(names):
        raise TableError(f"struct told twice: {sorted(n for n in set(names) if names.count(n) > 1)}")
    return messages


def len_min(message, struct):
    """The fewest bytes a struct takes in any version, at least 1."""
    return max(1, min(len_in(message, struct, version) for version in range(struct.versions.low, struct.versions.high + 1)))


def len_in(message, struct, version):
    flexible = version in message.flexible
    total = 1 if flexible else 0
    for field in struct.untagged():
        if version in field.versions:
            total += field_len(message, field, version, flexible and field.flexible)
    return total


def field_len(message, field, version, compact):
    if field.is_array:
        return 1 if compact else 4
    if field.is_pointer:
        return 1
    if field.struct:
        return len_in(message, field.struct, version)
    if field.type in NULLABLE_VIEWS and not compact:
        return 2 if field.type == "string" else 4
    return PRIMITIVES[field.type][1]
