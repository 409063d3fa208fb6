"""Key pairs."""

from __future__ import annotations

import base64
import binascii
import hashlib

import asyncssh

from ogc_async.sandbox.ec2.errors import Refused, invalid
from ogc_async.sandbox.ec2.filters import Field, select
from ogc_async.sandbox.ec2.region import Fields, KeyPair, Region, tag_set, tag_specification
from ogc_async.sandbox.ec2.wire import Parameters

KINDS = {b"ssh-ed25519": "ed25519", b"ssh-rsa": "rsa"}

FIELDS: dict[str, Field[KeyPair]] = {
    "key-pair-id": lambda each: [each.id],
    "key-name": lambda each: [each.name],
    "fingerprint": lambda each: [each.fingerprint],
}


def import_key_pair(region: Region, parameters: Parameters) -> Fields:
    """Take in a public key of the caller's."""
    name = parameters.required("KeyName")
    material = _decoded(parameters.required("PublicKeyMaterial"))
    tags = tag_specification(parameters, "key-pair")
    try:
        key = asyncssh.import_public_key(material)
    except asyncssh.KeyImportError:
        raise Refused("InvalidKey.Format", "Key is not in valid OpenSSH public key format") from None
    if key.algorithm not in KINDS:
        raise Refused("InvalidKey.Format", "Key must be of type RSA or ED25519")
    if name in region.key_pairs:
        raise Refused("InvalidKeyPair.Duplicate", f"The keypair '{name}' already exists.")
    return _describe(_add(region, name, key, tags), is_new=True)


def create_key_pair(region: Region, parameters: Parameters) -> Fields:
    """Make a pair, and hand out its private half once."""
    name = parameters.required("KeyName")
    kind = parameters.text("KeyType", "rsa")
    tags = tag_specification(parameters, "key-pair")
    algorithms = {"rsa": "ssh-rsa", "ed25519": "ssh-ed25519"}
    if kind not in algorithms:
        raise invalid("KeyType", kind)
    if name in region.key_pairs:
        raise Refused("InvalidKeyPair.Duplicate", f"The keypair '{name}' already exists.")
    key = asyncssh.generate_private_key(algorithms[kind])
    pair = _add(region, name, key, tags)
    return _describe(pair, is_new=True) | {"keyMaterial": key.export_private_key().decode()}


def describe_key_pairs(region: Region, parameters: Parameters) -> Fields:
    """By name, by id, or by filter."""
    names, ids = parameters.texts("KeyName"), parameters.texts("KeyPairId")
    for name in names:
        if name not in region.key_pairs:
            raise Refused("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")
    by_id = {each.id: each for each in region.key_pairs.values()}
    for each in ids:
        if each not in by_id:
            raise Refused("InvalidKeyPair.NotFound", f"The key pair '{each}' does not exist")
    named = [region.key_pairs[name] for name in names] + [by_id[each] for each in ids]
    chosen = select(named or region.key_pairs.values(), parameters, FIELDS, lambda each: each.tags)
    shows_key = parameters.flag("IncludePublicKey")
    return {
        "keySet": [
            _describe(each)
            | {
                "keyType": each.kind,
                "createTime": region.clock.moment(each.created_at),
                "publicKey": each.public_key if shows_key else None,
            }
            for each in chosen
        ]
    }


def delete_key_pair(region: Region, parameters: Parameters) -> Fields:
    """Forget a pair; one that is not there is no error."""
    wanted = parameters.text("KeyName"), parameters.text("KeyPairId")
    found = next((each for each in region.key_pairs.values() if each.name == wanted[0] or each.id == wanted[1]), None)
    if found is None:
        return {"return": True}
    del region.key_pairs[found.name]
    return {"return": True, "keyPairId": found.id}


def _add(region: Region, name: str, key: asyncssh.SSHKey, tags: dict[str, str]) -> KeyPair:
    pair = region.key_pairs[name] = KeyPair(
        id=region.new_id("key"),
        name=name,
        public_key=key.export_public_key().decode().strip(),
        kind=KINDS[key.algorithm],
        fingerprint=_fingerprint(key),
        created_at=region.clock.now(),
        tags=tags,
    )
    return pair


def _fingerprint(key: asyncssh.SSHKey) -> str:
    """OpenSSH's for a newer key; the MD5 of the public key's DER form for an imported RSA key."""
    if key.algorithm != b"ssh-rsa":
        return key.get_fingerprint().removeprefix("SHA256:") + "="
    return hashlib.md5(key.export_public_key("pkcs8-der"), usedforsecurity=False).digest().hex(":")


def _describe(pair: KeyPair, *, is_new: bool = False) -> Fields:
    described = {
        "keyPairId": pair.id,
        "keyName": pair.name,
        "keyFingerprint": pair.fingerprint,
        "tagSet": tag_set(pair.tags),
    }
    return described if pair.tags or not is_new else {**described, "tagSet": None}


def _decoded(material: str) -> bytes:
    try:
        return base64.b64decode(material, validate=True)
    except binascii.Error:
        raise Refused("InvalidKey.Format", "The public key material must be base64-encoded") from None
