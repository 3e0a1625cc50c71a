"""Reads one TOML file into one frozen model, or says in one sentence what is wrong and where. Knows no key by name."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainValidator, Strict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from collector import canonical
from collector.errors import ConfigError

Location = tuple[int | str, ...]


class Table(BaseModel):
    """A TOML table: frozen, and a key that it does not know is refused."""

    # Whoever writes a secret into the file by mistake does not find it in a traceback.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def record(self) -> dict[str, Any]:
        """The table as it is written into the ledger: text, whole numbers, lists and tables. Holds no secrets."""
        return {_key(name, field): _plain(getattr(self, name)) for name, field in type(self).model_fields.items()}


T = TypeVar("T", bound=Table)


# --- the kinds of values ---


class Seconds(int):
    """A stretch of time in whole seconds, which files write as ``"15m"``."""


_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def duration(value: object) -> Seconds:
    """``"15m"``, ``"1h"``, ``"1d"``: one whole number and one of s, m, h, d. Raises ValueError for anything else."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('must be a duration: a whole number from 1 and one of s, m, h, d, such as "15m" or "1d"')
    return Seconds(int(match[1]) * _UNITS[match[2]])


def duration_text(seconds: int) -> str:
    """The shortest text that ``duration`` reads back."""
    unit = next(unit for unit, size in _UNITS.items() if seconds % size == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


def matching(pattern: str, sentence: str) -> AfterValidator:
    """A validator of texts: ``sentence`` says what one should look like."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(sentence)
        return value

    return AfterValidator(check)


Duration = Annotated[Seconds, PlainValidator(duration)]
Text = Annotated[str, matching(r"(?! )[^\x00-\x1f\x7f]+(?<! )", "must be one line of text with something in it")]
Whole = Annotated[int, Strict()]
Name = Annotated[
    str, matching(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "a name is made of lower-case letters, digits and hyphens")
]


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """The values as they are. Raises ValueError when one stands there twice."""
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"names {value} twice; remove one")
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, Table):
        return value.record()
    if isinstance(value, Mapping):
        return {str(key): _plain(member) for key, member in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(member) for member in value]
    if isinstance(value, Seconds):
        return duration_text(value)
    if isinstance(value, datetime):
        return canonical.stamp(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Path):
        return value.name  # where a file lies differs between machines that run the same configuration
    if isinstance(value, StrEnum):
        return value.value
    return value


# --- reading ---


def read(path: Path, hint: str = "") -> dict[str, Any]:
    """The raw tables of a file. Raises ConfigError; ``hint`` says what to do when there is no such file."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file" + (f"; {hint}" if hint else "")) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error


def parse(
    model: type[T], raw: Mapping[str, Any], where: str, *, context: Any = None, sources: Mapping[Location, str] = {}
) -> T:
    """The model out of raw tables. Raises ConfigError with one sentence that begins with ``where``.

    ``sources`` names, by location, values that did not come out of the file.
    """
    try:
        return model.model_validate(raw, context=context)
    except ValidationError as error:
        # A default that rests on a value which was itself refused is no fault of its own.
        faults = [fault for fault in error.errors() if fault["type"] != "default_factory_not_called"]
        faults.sort(key=lambda fault: fault["type"] != "extra_forbidden")  # a key is missing because it is misspelt
        first, others = faults[0], len(faults) - 1
        source = next((name for place, name in sources.items() if first["loc"][: len(place)] == place), where)
        more = f" ({others} more like this)" if others == 1 else f" ({others} more like these)" if others else ""
        raise ConfigError(f"{source}: {_sentence(model, first['loc'], first['type'], first['msg'])}{more}") from error


_WORDS = {
    "dict_type": "must be a table",
    "int_type": "must be a whole number",
    "mapping_type": "must be a table",
    "model_type": "must be a table",
    "string_type": "must be a text in quotes",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
}


def _sentence(root: type[Table], loc: Location, kind: str, message: str) -> str:
    if not loc:
        return message.removeprefix("Value error, ")
    keys = [part for part in loc if part != "[key]"]
    items = [part for part in keys[-1:] if isinstance(part, int)]
    if items:  # a member of a list: the key is the list's
        keys.pop()
    owner, key = tuple(keys[:-1]), str(keys[-1])
    table = _written(owner)
    if kind == "extra_forbidden":
        known = [_key(name, field) for name, field in _model_at(root, owner).model_fields.items()]
        return f"{table} has no key {key!r}; {nearest(key, known)}"
    if kind == "missing":
        field = _field_of(_model_at(root, owner), key)
        return f"{table} needs {key!r}: {(field.description if field else '') or 'it has no default'}"
    words = _WORDS.get(kind) or message.removeprefix("Value error, ").replace("Input should", "must")
    # Table-wide complaints carry the table as their location; they name their keys themselves.
    place = _written(tuple(keys)) if _is_table(root, tuple(keys)) else f"{table} {key}"
    which = f" (item {items[0] + 1})" if items and not _is_table(root, loc) else ""
    if items and _is_table(root, loc):
        place = _written(loc)
    return f"{place}{which}: {words}"


def nearest(word: str, known: Collection[str]) -> str:
    """What to say beside an unknown word: the known one that was probably meant, or all there are."""
    close = difflib.get_close_matches(word, sorted(known), n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"it may be {', '.join(sorted(known))}" if known else "none is known"


def _written(loc: Location) -> str:
    """A location as it stands in the file: ``[schedule]``, ``[[aws]] number 2``."""
    if not loc:
        return "the file"
    names: list[str] = []
    for index, part in enumerate(loc):
        if isinstance(part, int):
            rest = ".".join(str(member) for member in loc[index + 1 :])
            return f"[[{'.'.join(names)}]] number {part + 1}" + (f", {rest}" if rest else "")
        names.append(part)
    return f"[{'.'.join(names)}]"


def _key(name: str, field: FieldInfo) -> str:
    return field.alias or name


def _field_of(model: type[Table], key: str) -> FieldInfo | None:
    return next((field for name, field in model.model_fields.items() if _key(name, field) == key), None)


def table_in(annotation: Any) -> type[Table] | None:
    """The table class that a field holds, itself or as members; None for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation
    return next((found for part in get_args(annotation) if (found := table_in(part)) is not None), None)


def _model_at(root: type[Table], loc: Location) -> type[Table]:
    model = root
    for part in loc:
        field = _field_of(model, part) if isinstance(part, str) else None
        model = (table_in(field.annotation) if field else None) or model
    return model


def _is_table(root: type[Table], loc: Location) -> bool:
    """Whether a location is a table rather than a value in one."""
    if not loc:
        return True
    if isinstance(loc[-1], str) and (field := _field_of(_model_at(root, loc[:-1]), loc[-1])) is not None:
        return table_in(field.annotation) is not None
    above = _model_at(root, loc)  # a member of a list or of named tables
    holder = _field_of(_model_at(root, loc[:-2]), str(loc[-2])) if len(loc) > 1 else None
    return holder is not None and table_in(holder.annotation) is above


# --- the reference page ---


def reference(root: type[Table], titles: Mapping[str, str]) -> str:
    """A Markdown section for each table of the file; ``titles`` gives the header of those that are lists or named."""
    return "\n\n".join(_sections(root, "", titles))


def _sections(model: type[Table], path: str, titles: Mapping[str, str]) -> Sequence[str]:
    plain = {name: field for name, field in model.model_fields.items() if table_in(field.annotation) is None}
    nested = {name: field for name, field in model.model_fields.items() if name not in plain}
    found: list[str] = []
    if path:
        rows = [_row(name, field) for name, field in model.model_fields.items() if not nested.get(name)]
        head = [f"## {titles.get(path, f'[{path}]')}", "", " ".join((model.__doc__ or "").split())]
        found.append("\n".join([*head, "", "| key | value | default | meaning |", "|---|---|---|---|", *rows]))
        if not rows:
            found.pop()
    for name, field in nested.items():
        inner = table_in(field.annotation)
        if inner is not None:
            found += _sections(inner, f"{path}.{name}" if path else name, titles)
    return found


def _row(name: str, field: FieldInfo) -> str:
    if field.is_required():
        default = "*required*"
    elif field.default is PydanticUndefined:
        default = "see there"
    else:
        default = f"`{_toml(_plain(field.default))}`" if field.default is not None else "none"
    return f"| `{_key(name, field)}` | {_kind(field)} | {default} | {field.description} |"


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(_toml(member) for member in value)}]"
    return str(value)


def is_scalar(annotation: Any) -> bool:
    """Whether a field holds one value rather than a list or a table."""
    return table_in(annotation) is None and get_origin(annotation) not in (tuple, Mapping)


_KINDS = {Seconds: "duration", Path: "path", int: "whole number", str: "text", date: "date or time"}


def _kind(field: FieldInfo) -> str:
    return _kind_of(field.annotation)


def _kind_of(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind_of(parts[0])
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin is tuple:
        return f"list of {_kind_of(parts[0])}"
    if origin in (Union, UnionType):
        return " or ".join(_kind_of(part) for part in parts if part is not NoneType)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"table of {_kind_of(parts[1])}"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return ", ".join(f"`{member.value}`" for member in annotation)
    return _KINDS.get(annotation, "text")
