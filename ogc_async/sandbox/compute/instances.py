"""Instances as they are read, changed and deleted."""

from __future__ import annotations

from ogc_async.sandbox.compute import scheduling
from ogc_async.sandbox.compute.call import Call
from ogc_async.sandbox.compute.catalog import REGIONS, zones_of
from ogc_async.sandbox.compute.checking import Fields, check_known, labels_of, metadata_of, text, words
from ogc_async.sandbox.compute.errors import Refused, stale
from ogc_async.sandbox.compute.launching import logins_of
from ogc_async.sandbox.compute.operations import describe as describe_operation
from ogc_async.sandbox.compute.pages import aggregated, listed_by_name
from ogc_async.sandbox.compute.project import Instance, Project, fingerprint
from ogc_async.sandbox.compute.tracking import Operation
from ogc_async.sandbox.room import State

FIELDS = words(
    "name id labels status zone machineType creationTimestamp scheduling tags metadata networkInterfaces disks "
    "cpuPlatform description hostname canIpForward deletionProtection lastStartTimestamp"
)
PLATFORMS = {"e2": "Intel Broadwell", "n1": "Intel Haswell", "n2": "Intel Cascade Lake", "t2a": "Ampere Altra"}
HOST_KEYS = "hostkeys"


def get(call: Call) -> Fields:
    """One instance."""
    return describe(call.project, _find(call))


def list_(call: Call) -> Fields:
    """A zone's instances."""
    found = call.project.visible(call.zone)
    return listed_by_name(
        call, "instance", found, lambda each: each.name, lambda each: describe(call.project, each), FIELDS
    )


def aggregated_list(call: Call) -> Fields:
    """All zones' instances."""
    scopes = [f"zones/{zone}" for region in REGIONS for zone in zones_of(region)]
    found = ((f"zones/{each.zone}", describe(call.project, each)) for each in call.project.visible())
    return aggregated(call, "instance", "instances", scopes, found, FIELDS)


def delete(call: Call) -> Fields:
    """End one instance."""
    project = call.project
    if (earlier := call.earlier()) is not None:
        return describe_operation(project, earlier)
    instance = _find(call)
    if instance.machine.is_protected:
        message = (
            f"Invalid resource usage: 'Resource cannot be deleted if it's protected against deletion: "
            f"{project.path(instance.path)}'."
        )
        raise Refused("invalidResourceUsage", message)
    project.check_concurrent("delete", call.region)
    operation = project.begin("delete", call.scope, instance.path, instance.machine.id, lasts=project.settings.shutdown)
    if faults := call.planned_faults(instance.path):
        project.room.start(project.finish_later(operation, *faults))
    else:
        project.room.end([instance.machine])
        project.room.start(_see_off(project, operation, instance))
    return describe_operation(project, call.remember(operation))


def set_labels(call: Call) -> Fields:
    """Give an instance other labels, if nobody else did since they were read."""
    if (earlier := call.earlier()) is not None:
        return describe_operation(call.project, earlier)
    instance = _find(call)
    check_known(call.body, ("labels", "labelFingerprint"))
    labels = labels_of(call.body)
    if text(call.body, "labelFingerprint") != fingerprint(instance.machine.tags):
        raise stale("Labels")
    call.project.check_concurrent("setLabels", call.region)
    if not call.fault:
        instance.machine.tags.clear()
        instance.machine.tags.update(labels)
    return _changed(call, "setLabels", instance)


def set_scheduling(call: Call) -> Fields:
    """Give a stopped instance other scheduling options; a limit of its time counts from its next start."""
    if (earlier := call.earlier()) is not None:
        return describe_operation(call.project, earlier)
    instance = _find(call)
    call.project.check_concurrent("setScheduling", call.region)
    if not call.fault:
        scheduling.change(call.project, instance, call.body)
    return _changed(call, "setScheduling", instance)


def set_metadata(call: Call) -> Fields:
    """Give an instance other metadata; its users' keys follow."""
    if (earlier := call.earlier()) is not None:
        return describe_operation(call.project, earlier)
    instance = _find(call)
    metadata = metadata_of(call.body)
    if text(call.body, "fingerprint") != fingerprint(instance.metadata):
        raise Refused("conditionNotMet", "Supplied fingerprint does not match current metadata fingerprint.")
    call.project.check_concurrent("setMetadata", call.region)
    if not call.fault:
        instance.metadata.clear()
        instance.metadata.update(metadata)
        instance.machine.logins = logins_of(metadata)
        if instance.machine.host is not None:
            instance.machine.host.authorize(instance.machine.logins)
    return _changed(call, "setMetadata", instance)


def get_guest_attributes(call: Call) -> Fields:
    """The host keys, as the guest agent publishes them at first boot."""
    instance = _find(call)
    variable = call.query.get("variableKey", "")
    wanted = variable or call.query.get("queryPath", "") or "/"
    namespace, _, key = wanted.partition("/")
    found = _host_keys(instance)
    if not found or namespace not in ("", HOST_KEYS) or (key and key not in found) or (variable and not key):
        message = f"The resource '{wanted}' of type 'Guest Attribute' was not found."
        raise Refused("notFound", message)
    link = call.project.link(f"{instance.path}/getGuestAttributes/{wanted}")
    reply: Fields = {"kind": "compute#guestAttributes", "selfLink": link}
    if variable:
        return reply | {"variableKey": variable, "variableValue": found[key]}
    items = [
        {"namespace": HOST_KEYS, "key": each, "value": value} for each, value in found.items() if key in ("", each)
    ]
    return reply | {"queryPath": wanted, "queryValue": {"items": items}}


def get_serial_port_output(call: Call) -> Fields:
    """The boot's words, with the host keys as cloud-init prints them."""
    instance = _find(call)
    port, start = call.query.get("port", "1"), call.query.get("start", "0")
    if port not in ("1", "2", "3", "4") or not start.isdecimal():
        raise Refused("invalid", "The port must be 1 to 4, and start a number.")
    machine, lines = instance.machine, [f"Booting {instance.name}"]
    if machine.state is State.PENDING:
        lines = []
    elif port == "1" and machine.host is not None and machine.ssh_open_at is not None:
        key = machine.host.host_key.export_public_key().decode().strip()
        lines += ["-----BEGIN SSH HOST KEY KEYS-----", key, "-----END SSH HOST KEY KEYS-----"]
    contents = "".join(f"{line}\r\n" for line in lines)
    return {
        "kind": "compute#serialPortOutput",
        "selfLink": call.project.link(f"{instance.path}/serialPort"),
        "contents": contents[int(start) :],
        "start": start,
        "next": str(max(len(contents), int(start))),
    }


def describe(project: Project, instance: Instance) -> Fields:
    """An instance as replies show it."""
    machine = instance.machine
    labels = machine.tags_at(project.clock.now(), project.settings.tag_lag)
    zone = f"zones/{machine.zone}"
    described: Fields = {
        "kind": "compute#instance",
        "id": machine.id,
        "name": instance.name,
        "creationTimestamp": project.timestamp(machine.launched_at),
        "description": instance.description,
        "zone": project.link(zone),
        "machineType": project.link(f"{zone}/machineTypes/{machine.type}"),
        "status": project.status(instance),
        "cpuPlatform": PLATFORMS.get(machine.type.partition("-")[0], "Unknown CPU Platform"),
        "canIpForward": False,
        "deletionProtection": machine.is_protected,
        "startRestricted": False,
        "tags": {"fingerprint": fingerprint(instance.network_tags)},
        "metadata": {"kind": "compute#metadata", "fingerprint": fingerprint(instance.metadata)},
        "labelFingerprint": fingerprint(labels),
        "fingerprint": fingerprint([machine.id, labels, instance.metadata]),
        "networkInterfaces": [_interface(project, instance)],
        "disks": [_disk(project, instance)],
        "scheduling": instance.scheduling,
        "selfLink": project.link(instance.path),
    }
    optional: Fields = {
        "hostname": instance.hostname,
        "labels": dict(labels),
        "serviceAccounts": instance.service_accounts,
    }
    described |= {name: value for name, value in optional.items() if value}
    if instance.network_tags:
        described["tags"]["items"] = instance.network_tags
    if instance.metadata:
        described["metadata"]["items"] = [{"key": key, "value": value} for key, value in instance.metadata.items()]
    if machine.running_at is not None:
        described["lastStartTimestamp"] = project.timestamp(machine.running_at)
    if machine.stopped_at is not None:
        word = "lastSuspendedTimestamp" if instance.is_suspended else "lastStopTimestamp"
        described[word] = project.timestamp(machine.stopped_at)
    if instance.ends_at is not None and machine.state is State.RUNNING:
        described["resourceStatus"] = {"scheduling": {"terminationTimestamp": project.timestamp(instance.ends_at)}}
    return described


def _find(call: Call) -> Instance:
    return call.project.named(call.zone, call.path["instance"])


def _changed(call: Call, kind: str, instance: Instance) -> Fields:
    faults = call.planned_faults(instance.path)
    operation = call.project.errand(kind, call.scope, instance.path, instance.machine.id, *faults)
    return describe_operation(call.project, call.remember(operation))


async def _see_off(project: Project, operation: Operation, instance: Instance) -> None:
    await instance.machine.gone.wait()
    operation.finish(project.clock.now())


def _host_keys(instance: Instance) -> dict[str, str]:
    machine = instance.machine
    is_enabled = instance.metadata.get("enable-guest-attributes", "").upper() in ("TRUE", "1", "Y", "YES")
    if not is_enabled or machine.host is None or machine.ssh_open_at is None:
        return {}
    kind, body = machine.host.host_key.export_public_key().decode().split()[:2]
    return {kind: body}


def _interface(project: Project, instance: Instance) -> Fields:
    machine = instance.machine
    interface: Fields = {
        "kind": "compute#networkInterface",
        "name": "nic0",
        "network": project.link("global/networks/default"),
        "subnetwork": project.link(f"regions/{machine.region}/subnetworks/default"),
        "networkIP": machine.private_ip,
        "stackType": "IPV4_ONLY",
        "fingerprint": fingerprint(machine.private_ip),
    }
    if machine.has_public_address:
        access = {
            "kind": "compute#accessConfig",
            "name": "External NAT",
            "type": "ONE_TO_ONE_NAT",
            "networkTier": "PREMIUM",
        }
        interface["accessConfigs"] = [access | ({"natIP": machine.address} if machine.address else {})]
    return interface


def _disk(project: Project, instance: Instance) -> Fields:
    return {
        "kind": "compute#attachedDisk",
        "type": "PERSISTENT",
        "mode": "READ_WRITE",
        "source": project.link(f"zones/{instance.zone}/disks/{instance.name}"),
        "deviceName": instance.device_name,
        "index": 0,
        "boot": True,
        "autoDelete": instance.is_disk_deleted,
        "interface": "SCSI",
        "diskSizeGb": str(instance.disk_gb),
        "architecture": instance.image.arch,
    }
