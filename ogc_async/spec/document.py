"""The model of a whole spec, and of what its files hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ogc_async.errors import Problem, SpecError
from ogc_async.spec.fields import Unfit
from ogc_async.spec.layout import Layout, LayoutEntry, LayoutName, SpecModel, SshKeys, Text
from ogc_async.spec.wording import did_you_mean, listed, value_of

NOTE_PREFIX = "x-"
"""Top-level keys that begin so are not read: a place for anchors and notes."""


def _some(given: object) -> object:
    if value_of(given) is None or given == {}:
        raise Unfit("is empty; a spec needs at least one layout")
    return given


def _filled(given: object) -> object:
    if value_of(given) is None or given == {}:
        raise Unfit(
            "is empty; give it a provider, runs-on and instance-size"
            " (`{}` removes a layout only where an earlier file has it)"
        )
    return given


class SpecFile(SpecModel):
    """A spec as its files write it."""

    name: Text = Field(description="name of the spec", examples=["my-project"])
    ssh_keys: SshKeys = Field(description="key pair of all layouts that name none")
    layouts: Annotated[dict[LayoutName, Annotated[LayoutEntry, BeforeValidator(_filled)]], BeforeValidator(_some)] = (
        Field(description="what to launch, by name")
    )


class Spec(SpecModel):
    """A whole spec: its layouts in the order of the files, and the files, absolute, in the order they were merged."""

    name: Text
    ssh_keys: SshKeys
    layouts: tuple[Layout, ...]
    files: tuple[Path, ...] = ()

    def layout(self, name: str) -> Layout:
        """The layout of that name. Raises :class:`~ogc_async.errors.SpecError` where there is none."""
        for layout in self.layouts:
            if layout.name == name:
                return layout
        known = [layout.name for layout in self.layouts]
        hint = did_you_mean(name, known) or f"; the spec has {listed(known, last='and')}" if known else ""
        raise SpecError([Problem(f"layouts.{name}", f"no such layout{hint}")])

    @staticmethod
    def json_schema() -> dict[str, Any]:
        """The JSON Schema of a spec's file, for editors that check and complete as one types."""
        schema = SpecFile.model_json_schema(by_alias=True)
        notes: dict[str, Any] = {f"^{NOTE_PREFIX}": {}}
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "patternProperties": notes}
