"""botocore's service model as a judge of replies: every element known, of its type, and there once."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from botocore.model import OperationModel, Shape

NAMESPACE = "{http://ec2.amazonaws.com/doc/2016-11-15/}"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
SCALARS = {
    "boolean": re.compile("true|false"),
    "integer": re.compile(r"-?\d+"),
    "long": re.compile(r"-?\d+"),
    "timestamp": TIMESTAMP,
    "string": re.compile(".*", re.DOTALL),
}


class Judge:
    """Hears every reply of a client, and notes what the model does not know."""

    def __init__(self, client: Any) -> None:
        self.faults: list[str] = []
        self.heard: set[str] = set()
        client.meta.events.register("before-parse.ec2.*", self._hear)

    def _hear(self, operation_model: OperationModel, response_dict: dict[str, Any], **_: Any) -> None:
        if response_dict["status_code"] >= 300:
            return
        name = operation_model.name
        self.heard.add(name)
        root = ElementTree.fromstring(response_dict["body"])
        if root.tag != f"{NAMESPACE}{name}Response":
            self.faults.append(f"{name}: {root.tag}")
        children = [each for each in root if each.tag != f"{NAMESPACE}requestId"]
        if len(children) != len(root) - 1:
            self.faults.append(f"{name}: not one requestId")
        shape = operation_model.output_shape
        if shape is None:
            self.faults += [f"{name}: {each.tag}" for each in children if each.tag != f"{NAMESPACE}return"]
            return
        self._walk_structure(shape, children, name)

    def _walk(self, shape: Shape, element: Any, path: str) -> None:
        if shape.type_name == "structure":
            self._walk_structure(shape, list(element), path)
        elif shape.type_name == "list":
            for index, item in enumerate(element):
                if item.tag != f"{NAMESPACE}item":
                    self.faults.append(f"{path}: {item.tag} in a list")
                self._walk(shape.member, item, f"{path}[{index}]")
        else:
            self._check_scalar(shape, element, path)

    def _walk_structure(self, shape: Any, children: list[Any], path: str) -> None:
        members = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        seen = set()
        for child in children:
            name = child.tag.removeprefix(NAMESPACE)
            if name in seen:
                self.faults.append(f"{path}.{name}: twice")
            seen.add(name)
            if name not in members:
                self.faults.append(f"{path}.{name}: unknown")
                continue
            self._walk(members[name], child, f"{path}.{name}")

    def _check_scalar(self, shape: Any, element: Any, path: str) -> None:
        text = element.text or ""
        if len(element) or not SCALARS[shape.type_name].fullmatch(text):
            self.faults.append(f"{path}: {text!r} is no {shape.type_name}")
        if getattr(shape, "enum", None) and text not in shape.enum:
            self.faults.append(f"{path}: {text!r} is none of {shape.enum}")
