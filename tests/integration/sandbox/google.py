"""Compute Engine as Google's own client sees it, with nothing of ours."""

from __future__ import annotations

from typing import Any

from google.auth.transport.requests import Request
from google.cloud import compute_v1
from google.oauth2 import credentials, service_account

from tests.cloud import Cloud
from tests.timing import patiently

ZONE = "us-central1-a"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIQ9r3rKpJbSIXQhPTsT8Y0pPCqBSfgLMRRSFHUJ5zvs adam@home"
DEBIAN = "projects/debian-cloud/global/images/family/debian-12"


def account_of(cloud: Cloud, prefix: str = "") -> Any:
    """The account of the file that the sandbox writes."""
    return service_account.Credentials.from_service_account_file(
        cloud.environment[f"{prefix}GOOGLE_APPLICATION_CREDENTIALS"],
        scopes=["https://www.googleapis.com/auth/compute"],
    )


class Google:
    """A project, as Google's client sees it; the account is the one of the file."""

    def __init__(self, cloud: Cloud, place: int = 1) -> None:
        prefix = "" if place == 1 else f"SANDBOX_{place}_"
        self.cloud = cloud
        self.project = cloud.environment[f"{prefix}GOOGLE_PROJECT"]
        # Clients with the account itself would look for its regions at a host of Google's before their first call.
        account = account_of(cloud, prefix)
        account.refresh(Request())
        self.token: str = account.token
        self._account = credentials.Credentials(token=account.token)

    def client(self, kind: Any, account: Any = None) -> Any:
        options = {"api_endpoint": self.cloud.environment["OGC_GOOGLE_ENDPOINT"]}
        return kind(credentials=account or self._account, client_options=options)

    @property
    def instances(self) -> Any:
        return self.client(compute_v1.InstancesClient)

    def done(self, operation: Any) -> Any:
        """The operation once it is over, wherever it is kept."""
        for _ in patiently("the end of the operation"):
            if operation.status == compute_v1.Operation.Status.DONE:
                break
            values: dict[str, str] = {"project": self.project, "operation": operation.name}
            if operation.zone:
                client = self.client(compute_v1.ZoneOperationsClient)
                values["zone"] = operation.zone.rpartition("/")[2]
            elif operation.region:
                client = self.client(compute_v1.RegionOperationsClient)
                values["region"] = operation.region.rpartition("/")[2]
            else:
                client = self.client(compute_v1.GlobalOperationsClient)
            operation = client.wait(**values)
        return operation

    def listed(self, text: str, zone: str = ZONE, **values: Any) -> list[Any]:
        request = compute_v1.ListInstancesRequest(project=self.project, zone=zone, filter=text, **values)
        return list(self.instances.list(request=request))

    def bulk(self, zone: str = ZONE, request_id: str = "", **values: Any) -> Any:
        body = compute_v1.BulkInsertInstanceResource(**values)
        request = compute_v1.BulkInsertInstanceRequest(
            project=self.project,
            zone=zone,
            bulk_insert_instance_resource_resource=body,
            request_id=request_id or None,
        )
        return self.instances.bulk_insert_unary(request=request)

    def children(self, operation: Any, zone: str = ZONE) -> list[Any]:
        text = f"(operationType=insert) AND (operationGroupId={operation.operation_group_id})"
        request = compute_v1.ListZoneOperationsRequest(project=self.project, zone=zone, filter=text)
        return list(self.client(compute_v1.ZoneOperationsClient).list(request=request))


def properties(word: str, **values: Any) -> dict[str, Any]:
    """What a bulk's machines are: bare names, as Compute Engine wants them there."""
    return {
        "machine_type": "e2-small",
        "labels": {"word": word},
        "disks": [{"boot": True, "auto_delete": True, "initialize_params": {"source_image": DEBIAN}}],
        "network_interfaces": [
            {"network": "global/networks/default", "access_configs": [{"type_": "ONE_TO_ONE_NAT", "name": "nat"}]}
        ],
        "metadata": {
            "items": [
                {"key": "ssh-keys", "value": f"adam:{PUBLIC_KEY}"},
                {"key": "enable-guest-attributes", "value": "TRUE"},
            ]
        },
        **values,
    }


def instance(name: str, word: str, zone: str = ZONE, **values: Any) -> Any:
    given = properties(word, machine_type=f"zones/{zone}/machineTypes/e2-small", **values)
    return compute_v1.Instance(name=name, **given)


def errors(operation: Any) -> list[str]:
    return [each.code for each in operation.error.errors]
