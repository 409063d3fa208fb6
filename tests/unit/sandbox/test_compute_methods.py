"""The methods that the sandbox serves, against the discovery document."""

from __future__ import annotations

import pytest

from ogc_async.sandbox.compute.methods import METHODS, Method
from tests import discovery


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_method_is_served_as_the_document_says(method: Method) -> None:
    described = discovery.method(method.name)
    assert method.verb == described["httpMethod"]
    assert method.has_body == ("request" in described)
    known = {*described["parameters"], *discovery.document()["parameters"]}
    assert {each for each in method.takes if not each.startswith("$")} <= known
