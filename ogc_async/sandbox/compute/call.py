"""One call of a method, as the methods see it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from ogc_async.sandbox.compute.catalog import REGIONS, is_zone, region_of
from ogc_async.sandbox.compute.checking import Fields, number
from ogc_async.sandbox.compute.errors import invalid, not_found
from ogc_async.sandbox.compute.project import Project
from ogc_async.sandbox.compute.tracking import Fault, Operation, planned_faults

MAX_RESULTS = 500


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked. ``fault`` is how the operation is to fail, as planned: codes, joined by ``+``, or ""."""

    project: Project
    method: str
    tail: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Fields
    fault: str = ""

    @property
    def zone(self) -> str:
        """The zone of the path. Raises :class:`Refused`."""
        zone = self.path["zone"]
        if not is_zone(zone):
            raise not_found(self.project.path(f"zones/{zone}"))
        return zone

    @property
    def region(self) -> str:
        """The region of the path, or of its zone. Raises :class:`Refused`."""
        if "zone" in self.path:
            return region_of(self.zone)
        region = self.path["region"]
        if region not in REGIONS:
            raise not_found(self.project.path(f"regions/{region}"))
        return region

    @property
    def scope(self) -> str:
        """Where the operation that the call begins is kept."""
        if "zone" in self.path:
            return f"zones/{self.zone}"
        return f"regions/{self.region}" if "region" in self.path else "global"

    @property
    def request_id(self) -> str:
        """The client's own id of the request, or "". Raises :class:`Refused`."""
        given = self.query.get("requestId", "")
        if not given:
            return ""
        try:
            read = uuid.UUID(given)
        except ValueError:
            read = uuid.UUID(int=0)
        if not read.int:
            raise invalid("requestId", given, "Must be a valid UUID that is not the zero UUID.")
        return str(read)

    @property
    def max_results(self) -> int:
        """A page's size. Raises :class:`Refused`."""
        given = number(self.query, "maxResults", MAX_RESULTS)
        if not 0 <= given <= MAX_RESULTS:
            raise invalid("maxResults", given, f"Values must be between 0 and {MAX_RESULTS}.")
        return given or MAX_RESULTS

    def planned_faults(self, target: str = "") -> list[Fault]:
        """Why the operation on that target fails, if it was planned to."""
        if not self.fault:
            return []
        path = self.project.path
        return planned_faults(self.fault, self.project.number, path(self.scope), path(target or self.scope))

    def earlier(self) -> Operation | None:
        """The operation that the same request began before."""
        return self.project.requests.get((self.request_id, self.method, self.tail)) if self.request_id else None

    def remember(self, operation: Operation) -> Operation:
        """A repeat of the request answers this operation."""
        if self.request_id:
            operation.client_id = self.query["requestId"]
            self.project.requests[self.request_id, self.method, self.tail] = operation
        return operation
