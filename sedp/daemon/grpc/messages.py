"""Message classes made from the schema when the gRPC plane starts.

They live in a descriptor pool of their own: a process may hold another program's classes of the
same names (a client library does), and the default pool takes each name once. No generated code,
which would tie SEDP to one major version of protobuf.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from sedp.daemon.grpc.proto import SCHEMA

PACKAGE = "inference"
FILE = "open_inference.proto"

_TOKEN = re.compile(r"\w+|[{}()<>=,;]")
_Field = descriptor_pb2.FieldDescriptorProto


class SchemaReader:
    """Reads the part of proto3 that the schema uses: messages, enums, oneofs, maps, services."""

    def __init__(self, text: str) -> None:
        self._tokens: Iterator[str] = iter(_TOKEN.findall(text))
        self._enums = set(re.findall(r"\benum (\w+)", text))
        self.file = descriptor_pb2.FileDescriptorProto(name=FILE, package=PACKAGE, syntax="proto3")

    def read(self) -> descriptor_pb2.FileDescriptorProto:
        """The whole schema as a descriptor."""
        for kind in self._tokens:
            match kind:
                case "message":
                    self._message(self.file.message_type.add())
                case "enum":
                    self._enum(self.file.enum_type.add())
                case "service":
                    self._service(self.file.service.add())
                case _:
                    raise AssertionError(f"{kind!r} in the schema")
        return self.file

    def _next(self, *expected: str) -> str:
        token = next(self._tokens)
        assert not expected or token in expected, f"{token!r}, wanted one of {expected}"
        return token

    def _message(self, message: Any) -> None:
        message.name = self._next()
        self._next("{")
        while (token := self._next()) != "}":
            if token == "message":
                self._message(message.nested_type.add())
            elif token == "oneof":
                message.oneof_decl.add(name=self._next())
                self._next("{")
                while (kind := self._next()) != "}":
                    self._field(message, kind).oneof_index = len(message.oneof_decl) - 1
            elif token == "map":
                self._map(message)
            elif token == "repeated":
                self._field(message, self._next()).label = _Field.LABEL_REPEATED
            else:
                self._field(message, token)

    def _field(self, message: Any, kind: str) -> Any:
        field = message.field.add(name=self._next(), label=_Field.LABEL_OPTIONAL)
        self._next("=")
        field.number = int(self._next())
        self._next(";")
        self._set_type(field, kind)
        return field

    def _map(self, message: Any) -> None:
        """A map is a repeated message of key and value, by the language's own definition."""
        self._next("<")
        key = self._next()
        self._next(",")
        value = self._next()
        self._next(">")
        field = self._field(message, "string")
        entry = message.nested_type.add(name=f"{field.name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        for number, (name, kind) in enumerate((("key", key), ("value", value)), 1):
            part = entry.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
            self._set_type(part, kind)
        field.label = _Field.LABEL_REPEATED
        self._set_type(field, entry.name)

    def _set_type(self, field: Any, kind: str) -> None:
        scalar = _Field.Type.DESCRIPTOR.values_by_name.get(f"TYPE_{kind.upper()}")
        if scalar is not None:
            field.type = scalar.number
        else:
            field.type = _Field.TYPE_ENUM if kind in self._enums else _Field.TYPE_MESSAGE
            field.type_name = kind  # the pool finds it in the nearest scope

    def _enum(self, enum: Any) -> None:
        enum.name = self._next()
        self._next("{")
        while (token := self._next()) != "}":
            self._next("=")
            enum.value.add(name=token, number=int(self._next()))
            self._next(";")

    def _service(self, service: Any) -> None:
        service.name = self._next()
        self._next("{")
        while self._next("rpc", "}") == "rpc":
            method = service.method.add(name=self._next())
            self._next("(")
            method.client_streaming, method.input_type = self._method_side()
            self._next("returns")
            self._next("(")
            method.server_streaming, method.output_type = self._method_side()
            self._next(";")

    def _method_side(self) -> tuple[bool, str]:
        token = self._next()
        is_stream = token == "stream"
        name = self._next() if is_stream else token
        self._next(")")
        return is_stream, name


POOL = descriptor_pool.DescriptorPool()
POOL.AddSerializedFile(SchemaReader(SCHEMA).read().SerializeToString())
SERVICE = POOL.FindServiceByName(f"{PACKAGE}.GRPCInferenceService")


def message_class(name: str) -> Any:
    """Class of a message of the schema, by its short name."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))
