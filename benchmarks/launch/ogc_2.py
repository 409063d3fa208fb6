"""``ogc`` 2.1.9, the ancestor: its own ``launch_async`` with processes, its own rows in its own PostgreSQL.

It is pointed at the pretend cloud through its driver's options, and finds its security group and key pair already
there: its processes would all create them at once and fail. ``OGC_MAX_WORKERS`` is set, which it does not advertise:
by its default a machine with two cores launches one node after the other.
"""

from __future__ import annotations

import os
from functools import partial
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit


def prepare(job: dict[str, Any]) -> Any:
    """The package, on an empty database with a user; firewall and key pair."""
    ogc = connect(job)
    ogc.db.createtbl(ogc.state.app.engine)
    with ogc.state.app.session as session:
        session.add(ogc.db.User(name="Bench", slug="bench"))
        session.commit()
    ogc.state.app.engine.dispose()
    driver = ogc.provision.AWSProvisioner(ogc.state.app.env).provisioner
    driver.ex_create_security_group(job["name"], "for SSH")
    driver.ex_authorize_security_group(job["name"], 22, 22, "0.0.0.0/0")
    driver.import_key_pair_from_file(job["name"], f"{job['key']}.pub")
    return ogc


def connect(job: dict[str, Any]) -> Any:
    """The package, with a driver that leads to the pretend cloud."""
    os.environ.update(job["environment"] | job["postgres"], OGC_MAX_WORKERS=str(job["workers"]))
    # It connects when it is imported, and reads its variables then.
    from ogc import actions, db, deployer, provision, state  # see above

    address = urlsplit(job["environment"]["AWS_ENDPOINT_URL"])
    there = {"host": address.hostname, "port": address.port, "secure": False, "signature_version": "4"}
    options = provision.AWSProvisioner.options.fget
    provision.AWSProvisioner.options = property(lambda self: options(self) | there)
    port = int(job["environment"]["OGC_SSH_PORT"])
    deployer.ParamikoSSHClient = partial(deployer.ParamikoSSHClient, port=port)
    return SimpleNamespace(actions=actions, db=db, provision=provision, state=state)


def race(job: dict[str, Any], ogc: Any) -> list[str]:
    """The addresses of the nodes that it says it launched."""
    values = {
        "name": job["name"],
        "runs-on": job["image"],
        "scale": job["count"],
        "arch": "amd64",
        "instance-size": job["size"],
        "username": "ubuntu",
        "scripts": "scripts",
        "provider": "aws",
        "ssh_public_key": f"{job['key']}.pub",
        "ssh_private_key": job["key"],
        "tags": [],
        "artifacts": None,
        "remote-path": None,
        "include": [],
        "exclude": [],
        "ports": [],
    }
    ids = list(ogc.actions.launch_async([SimpleNamespace(as_dict=lambda: values, scale=job["count"])]))
    with ogc.state.app.session as session:
        rows = session.query(ogc.db.Node).filter(ogc.db.Node.id.in_([each for each in ids if each > 0]))
        return [row.public_ip for row in rows]
