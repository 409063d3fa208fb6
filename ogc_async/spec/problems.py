"""pydantic's findings in our own words, each at its place in the file. The only reader of ``ValidationError``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ogc_async.errors import Problem
from ogc_async.spec.tree import Keys, Table, mark_of
from ogc_async.spec.wording import did_you_mean, dotted, listed, shown

_AT_KEY = frozenset({"missing", "extra_forbidden"})
_NOT_A_MAPPING = frozenset({"model_type", "model_attributes_type", "dict_type"})

_MISSING_KEYS = "is missing; name the key pair that opens the nodes:\nssh-keys:\n  private: ~/.ssh/id_ed25519"


def problems_of(
    error: ValidationError, model: type[BaseModel], given: object, *, tree: Table | None = None, within: Keys = ()
) -> list[Problem]:
    """One problem a finding about ``given``, which was to be a ``model``.

    ``tree`` is where ``given`` was written (None: in Python); ``within`` is the way to ``given`` for the reader.
    """
    return list(_problems(error, model, given, tree, within))


def _problems(
    error: ValidationError, model: type[BaseModel], given: object, tree: Table | None, within: Keys
) -> Iterator[Problem]:
    for each in error.errors(include_url=False):
        kind = each["type"]
        if kind == "default_factory_not_called":
            continue  # It depends on a value that has a finding of its own.
        is_key = each["loc"][-1:] == ("[key]",)
        path = _written(each["loc"][:-1] if is_key else each["loc"], given, is_missing=kind == "missing")
        message = _message(kind, path, each, model)
        where = dotted((*within, *path))
        if tree is None:
            yield Problem(where, message)
        else:
            yield mark_of(tree, path, of_key=is_key or kind in _AT_KEY).problem(where, message)


def _written(path: Keys, given: object, *, is_missing: bool) -> Keys:
    """The part of pydantic's way that leads through what was written: a single value may stand for a list of one."""
    for depth, part in enumerate(path):
        if isinstance(part, int) and not isinstance(given, list | tuple):
            return path[:depth]
        if isinstance(given, Mapping):
            if part not in given:
                return path[: depth + 1] if is_missing else path[:depth]
            given = given[part]
        elif isinstance(given, list | tuple) and isinstance(part, int):
            given = given[part]
    return path


def _message(kind: str, path: Keys, finding: Any, model: type[BaseModel]) -> str:
    if kind == "value_error":
        return str(finding["ctx"]["error"])
    if kind == "missing":
        return _missing(model, path)
    if kind in ("extra_forbidden", "invalid_key"):
        return _unknown(model, path)
    if kind in _NOT_A_MAPPING:
        return f"must be keys and values, not {shown(finding['input'])}"
    return f"is not valid: {finding['msg']}"


def _missing(model: type[BaseModel], path: Keys) -> str:
    key = str(path[-1])
    if key == "ssh-keys":
        return _MISSING_KEYS
    field = _fields(_model_at(model, path[:-1])).get(key)
    example = f", for example `{key}: {field.examples[0]}`" if field and field.examples else ""
    return f"is missing; write one{example}"


def _unknown(model: type[BaseModel], path: Keys) -> str:
    key, known = str(path[-1]), sorted(_fields(_model_at(model, path[:-1])))
    hint = did_you_mean(key, known) or f"; known here are {listed(known, last='and')}"
    return f"unknown key {shown(key)}{hint}"


def _model_at(model: type[BaseModel], path: Keys) -> type[BaseModel]:
    """The model whose keys stand at ``path``."""
    for part in path:
        field = _fields(model).get(str(part))
        # A part that is no key of the model is a key of a mapping, whose model was found with the mapping.
        model = (_model_in(field.annotation) or model) if field is not None else model
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The model's fields by the keys of a file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}
