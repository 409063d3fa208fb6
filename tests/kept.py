"""What every new process works out anew from files that never change, and those that tests start work out once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import botocore.session
import jwt.algorithms
import pytest
from aiobotocore.client import AioClientCreator
from aiobotocore.session import AioSession
from botocore.errorfactory import ClientExceptionsFactory
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ogc_async.providers.google import credentials

SERVICES = ("ec2", "ssm", "sts")
"""Those of AWS that the program calls."""


@contextmanager
def kept() -> Iterator[None]:
    """AWS' models, what is made of them, and Google's private key, 0.1 s each, are kept while the block runs."""
    create, name_errors = AioClientCreator._create_client_class, ClientExceptionsFactory.create_client_exceptions
    classes: dict[str, Any] = {}
    errors: dict[str, Any] = {}

    async def created(it: Any, name: str, *rest: Any) -> Any:
        if name not in classes:
            classes[name] = await create(it, name, *rest)
        return classes[name]

    def named(it: Any, model: Any) -> Any:
        if model.service_name not in errors:
            errors[model.service_name] = name_errors(it, model)
        return errors[model.service_name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(botocore.session.create_loader))
        patch.setattr(AioClientCreator, "_create_client_class", created)
        patch.setattr(ClientExceptionsFactory, "create_client_exceptions", named)
        loaded = cache(load_pem_private_key)
        for module in (credentials, jwt.algorithms):
            patch.setattr(module, "load_pem_private_key", loaded)
        yield


async def read_models() -> None:
    """Make a client of each kind once, in a session that is thrown away: what is kept then is there."""
    session = AioSession()
    for service in SERVICES:
        async with session.create_client(
            service, region_name="us-east-2", aws_access_key_id="x", aws_secret_access_key="x"
        ):
            pass
