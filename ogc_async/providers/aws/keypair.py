"""The key pair of a layout: its public key as EC2 knows it."""

from __future__ import annotations

import hashlib

from ogc_async.errors import InvalidRequest, ProviderError
from ogc_async.providers.aws.client import AwsClient
from ogc_async.providers.aws.errors import PROVIDER, is_duplicate
from ogc_async.providers.aws.replies import Reply
from ogc_async.providers.aws.tags import layout_tags, read_tags, resource_name, tag_filters, tag_specification
from ogc_async.providers.keypairs import KeyPair
from ogc_async.types import LaunchRequest
from ogc_async.types.launch import TAG_LAYOUT, TAG_OWNER, TAG_SCOPE

KINDS = ("ssh-ed25519", "ssh-rsa")
"""What EC2 imports."""


async def ensure_key_pair(client: AwsClient, request: LaunchRequest) -> str:
    """Import the request's public key, unless it is there already; returns the key pair's name."""
    name = key_pair_name(request)
    tags = layout_tags(request.owner, request.scope, request.layout)
    try:
        await client.call(
            "ImportKeyPair",
            KeyName=name,
            PublicKeyMaterial=request.public_key.strip().encode(),
            TagSpecifications=[tag_specification("key-pair", tags)],
        )
    except ProviderError as error:
        if not is_duplicate(error):
            raise
        await _check_same(client, name, request)
    return name


async def delete_key_pairs(client: AwsClient, layout: str, *, owner: str, scope: str) -> None:
    """Delete every key pair of the layout, of former public keys too."""
    filters = tag_filters(layout_tags(owner, scope, layout))
    reply = await client.call("DescribeKeyPairs", Filters=filters)
    for pair in reply["KeyPairs"]:
        # EC2 answers success for one that is gone.
        await client.call("DeleteKeyPair", KeyName=pair["KeyName"])


def key_pair_name(request: LaunchRequest) -> str:
    """A name a public key: a layout whose key has changed gets a new pair, and the old machines keep theirs.

    Raises :class:`~ogc_async.errors.InvalidRequest` for a key of a kind that EC2 does not take.
    """
    words = request.public_key.split()
    if len(words) < 2 or words[0] not in KINDS:
        kind = words[0] if words else "nothing"
        advice = "make one with ssh-keygen -t ed25519"
        message = f"layout {request.layout!r}: EC2 takes ED25519 and RSA keys, not {kind}; {advice}"
        raise InvalidRequest(message, provider=PROVIDER, operation="ImportKeyPair")
    digest = hashlib.sha256(" ".join(words[:2]).encode()).hexdigest()
    return f"{resource_name(request.owner, request.scope, request.layout)}-{digest[:8]}"


async def _check_same(client: AwsClient, name: str, request: LaunchRequest) -> None:
    """A name that is taken is ours if it holds the same key; a comment behind the key does not count."""
    reply = await client.call("DescribeKeyPairs", settles=True, KeyNames=[name], IncludePublicKey=True)
    pairs: list[Reply] = reply["KeyPairs"]
    there = str(pairs[0].get("PublicKey") or "").split()[:2] if pairs else []
    # Where the key itself is not told, its digest in the name says the same.
    if there and there != request.public_key.split()[:2]:
        message = f"the key pair {name!r} exists in {client.region} and holds another public key; delete it"
        raise InvalidRequest(message, provider=PROVIDER, operation="ImportKeyPair", code="InvalidKeyPair.Duplicate")


async def list_key_pairs(client: AwsClient, *, owner: str, scope: str) -> list[KeyPair]:
    """The key pairs with these tags, of every layout."""
    reply = await client.call("DescribeKeyPairs", Filters=tag_filters({TAG_OWNER: owner, TAG_SCOPE: scope}))
    return [KeyPair(pair["KeyName"], read_tags(pair).get(TAG_LAYOUT, "")) for pair in reply["KeyPairs"]]
