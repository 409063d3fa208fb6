"""apache-libcloud with a thread pool: a driver a thread, a call a machine, refused calls made again."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from libcloud.common.exceptions import BaseHTTPError
from libcloud.compute.providers import get_driver
from libcloud.compute.types import Provider

THREADS = 50
REFUSED = "RequestLimitExceeded"
TIMEOUT_S = 600

_own = threading.local()


def race(job: dict[str, Any], _: None) -> list[str]:
    """The machines' addresses."""
    driver = _driver(job)
    driver.ex_create_security_group(job["name"], "for SSH")
    driver.ex_authorize_security_group(job["name"], 22, 22, "0.0.0.0/0")
    driver.import_key_pair_from_file(job["name"], f"{job['key']}.pub")
    size = next(each for each in driver.list_sizes() if each.id == job["size"])
    image = driver.get_image(job["image"])
    with ThreadPoolExecutor(min(THREADS, job["count"])) as pool:
        nodes = list(pool.map(lambda number: _launch_one(job, size, image, number), range(job["count"])))
    ids = {"ex_node_ids": [node.id for node in nodes]}
    up = driver.wait_until_running(nodes, timeout=TIMEOUT_S, ex_list_nodes_kwargs=ids)
    return [addresses[0] for _, addresses in up]


def _launch_one(job: dict[str, Any], size: Any, image: Any, number: int) -> Any:
    """A refused call is made again, ever later: the library itself does not."""
    pause = 1.0
    while True:
        try:
            return _driver(job).create_node(
                name=f"{job['name']}-{number}",
                size=size,
                image=image,
                ex_keyname=job["name"],
                ex_security_groups=[job["name"]],
            )
        except (BaseHTTPError, Exception) as error:
            if REFUSED not in str(error):
                raise
            time.sleep(random.uniform(pause / 2, pause))
            pause = min(pause * 2, 20.0)


def _driver(job: dict[str, Any]) -> Any:
    """The thread's own: a driver has one connection, which is not for two at a time."""
    if not hasattr(_own, "driver"):
        environment = job["environment"]
        address = urlsplit(environment["AWS_ENDPOINT_URL"])
        _own.driver = get_driver(Provider.EC2)(
            environment["AWS_ACCESS_KEY_ID"],
            environment["AWS_SECRET_ACCESS_KEY"],
            region=environment["AWS_REGION"],
            host=address.hostname,
            port=address.port,
            secure=False,
            signature_version="4",
        )
    return _own.driver
