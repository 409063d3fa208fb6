"""The model of a layout. Shape only: no file that a layout names is touched."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from ogc_async.errors import Problem, SpecError
from ogc_async.spec import carried, fields
from ogc_async.spec.problems import problems_of
from ogc_async.spec.wording import shown
from ogc_async.types import Port, Then, Ttl

MAX_SCALE = 10_000

_PLACE, _PLACE_RULE = "[a-z0-9][a-z0-9-]{0,62}", "lowercase letters, digits and '-'"
_USER = "[A-Za-z_][A-Za-z0-9_.-]{0,31}"
_VARIABLE = "[A-Za-z_][A-Za-z0-9_]*"
_CLOUDS = {"amazon": "aws", "ec2": "aws", "gcp": "google", "gce": "google"}


def _kebab(name: str) -> str:
    return name.replace("_", "-")


def _with_text_keys(values: Mapping[Any, object]) -> dict[str, object]:
    """The mapping as a file would hold it: every key is text."""
    return {str(key): _with_text_keys(each) if isinstance(each, Mapping) else each for key, each in values.items()}


def _bare(time: timedelta) -> int | float:
    seconds = time.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def _life(ttl: Ttl) -> object:
    """As it is written: a bare time where nothing else is said."""
    return _bare(ttl) if ttl.then is Then.END else {"after": _bare(ttl), "then": str(ttl.then)}


_LIFE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": ["string", "number", "null"]},
        {
            "type": "object",
            "properties": {"after": {"type": ["string", "number"]}, "then": {"enum": [str(each) for each in Then]}},
            "required": ["after"],
            "additionalProperties": False,
        },
    ]
}


def _one_or_more(item: Any) -> BeforeValidator:
    return BeforeValidator(fields.several, json_schema_input_type=tuple[item, ...] | item)


Text = Annotated[str, BeforeValidator(fields.text)]
Tag = Annotated[str, BeforeValidator(carried.tag)]
LayoutName = Annotated[str, BeforeValidator(fields.layout_name)]
Zone = Annotated[str, BeforeValidator(fields.matching(_PLACE, _PLACE_RULE))]
EnvName = Annotated[str, BeforeValidator(fields.matching(_VARIABLE, "the name of an environment variable"))]
LocalPath = Annotated[Path, BeforeValidator(fields.local_path), PlainSerializer(str)]
LabelKey = Annotated[str, BeforeValidator(carried.label_key)]
LabelValue = Annotated[
    str,
    BeforeValidator(carried.label_value),
    WithJsonSchema({"type": ["string", "number", "boolean"]}, mode="validation"),
]
OpenPort = Annotated[
    Port, BeforeValidator(fields.port), PlainSerializer(str), WithJsonSchema({"type": ["string", "integer"]})
]
Network = Annotated[str, BeforeValidator(fields.network)]
Seconds = Annotated[
    float | None,
    BeforeValidator(fields.optional(fields.seconds)),
    WithJsonSchema({"type": ["string", "number", "null"]}),
]
Flag = Annotated[bool, BeforeValidator(fields.flag)]
Once = AfterValidator(fields.without_repeats)
Texts = Annotated[tuple[Text, ...], _one_or_more(Text), Once]
Provider = Annotated[Literal["aws", "google"], BeforeValidator(fields.choice(("aws", "google"), {}, _CLOUDS))]
Arch = Annotated[
    Literal["x86_64", "arm64"],
    BeforeValidator(fields.choice(("x86_64", "arm64"), {"amd64": "x86_64", "aarch64": "arm64"}, {"x64": "x86_64"})),
]
Platform = Annotated[
    Literal["linux", "windows"], BeforeValidator(fields.choice(("linux", "windows"), {}, {"win": "windows"}))
]
Address = Annotated[Literal["public", "private"], BeforeValidator(fields.choice(("public", "private"), {}, {}))]
OnFailure = Annotated[Literal["stop", "continue"], BeforeValidator(fields.choice(("stop", "continue"), {}, {}))]


class SpecModel(BaseModel):
    """What every model of a spec has in common: frozen, kebab-case keys, unknown keys refused."""

    # Python may use the attributes' names; a file has one spelling a key, which its reader asks for.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=_kebab,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        defer_build=True,
    )


class SshKeys(SpecModel):
    """The key pair that opens the nodes; ``public`` is ``<private>.pub`` where it is not named."""

    private: LocalPath = Field(description="private key file", examples=["~/.ssh/id_ed25519"])
    public: LocalPath = Field(
        default_factory=lambda known: Path(f"{known['private']}.pub"),
        description="public key file (<private>.pub)",
    )


class Timeouts(SpecModel):
    """Deadlines in seconds that replace the settings'."""

    boot: Seconds = Field(None, description="from the launch call until a machine runs")
    ssh: Seconds = Field(None, description="from running until the node accepts an SSH session")
    ready: Seconds = Field(None, description="from the SSH session until the node is ready for its scripts")
    step: Seconds = Field(None, description="one script or command")
    transfer: Seconds = Field(None, description="one node's file transfer")
    terminate: Seconds = Field(None, description="from the terminate call until a machine is gone")


class Ready(SpecModel):
    """When a node is ready for its scripts, beside answering SSH; all that is given has to be so."""

    cloud_init: Flag = Field(default=False, description="cloud-init has finished")
    port: Annotated[int | None, BeforeValidator(fields.optional(fields.whole(1, 65535)))] = Field(
        None, description="something listens on this TCP port of the node"
    )
    command: Annotated[str | None, BeforeValidator(fields.optional(fields.text))] = Field(
        None, description="this shell command exits with 0"
    )


class LayoutKeys(SpecModel):
    """What a layout says about its machines, wherever it is written."""

    provider: Provider = Field(description="cloud to launch in", examples=["aws"])
    runs_on: Text = Field(
        description="image: a name of the catalogue, or the cloud's own id or URL", examples=["ubuntu-2404"]
    )
    arch: Arch = Field("x86_64", description="CPU architecture")
    instance_size: Text = Field(description="the cloud's machine type", examples=["t3.small"])
    fallback_sizes: Texts = Field(
        (), description="machine types to go on with, in order, where no zone has capacity for instance-size"
    )
    username: Annotated[str | None, BeforeValidator(fields.optional(fields.matching(_USER, "a user's name")))] = Field(
        None, description="login user (the image's own)"
    )
    scripts: Annotated[
        Path | None, BeforeValidator(fields.optional_path), PlainSerializer(str, when_used="unless-none")
    ] = Field(None, description="folder of the scripts to run, or one script")
    scale: Annotated[int, Field(ge=0, le=MAX_SCALE), BeforeValidator(fields.whole(0, MAX_SCALE))] = Field(
        1, description="how many nodes"
    )
    min_ready: Annotated[int | None, BeforeValidator(fields.optional(fields.whole(1, MAX_SCALE)))] = Field(
        None, description="a launch returns once so many nodes run; the others go on booting (scale)"
    )
    spare: Annotated[int, Field(ge=0, le=MAX_SCALE), BeforeValidator(fields.whole(0, MAX_SCALE))] = Field(
        0, description="machines to ask for beyond scale; the first to run are kept, the rest returned"
    )
    remote_path: Annotated[str, BeforeValidator(fields.remote_path)] = Field(
        "ogc", description="folder on the node for scripts and files, from the login home"
    )
    include: Texts = Field((), description="patterns of the files to push")
    exclude: Texts = Field((), description="patterns of the files not to push")
    artifacts: Texts = Field((), description="files to fetch from the node before it is removed")
    tags: Annotated[tuple[Tag, ...], _one_or_more(Tag), Once] = Field(
        (),
        description="words to find nodes by, which machines carry too: 256 characters each on EC2; on Compute Engine"
        " 63 lowercase letters, digits, '-' and '_'",
    )
    labels: dict[LabelKey, LabelValue] = Field(
        {},
        description="keys and values that machines carry as written: 128 and 256 characters on EC2; on Compute Engine"
        " 63 lowercase letters, digits, '-' and '_', a letter first in keys",
    )
    ports: Annotated[tuple[OpenPort, ...], _one_or_more(OpenPort), Once] = Field(
        (), description="ports to open: 80, '8000-8100', '53/udp'"
    )
    ingress: Annotated[tuple[Network, ...], AfterValidator(fields.not_empty), _one_or_more(Network), Once] = Field(
        ("0.0.0.0/0",), description="networks that may reach the ports and SSH"
    )
    region: Annotated[str | None, BeforeValidator(fields.optional(fields.matching(_PLACE, _PLACE_RULE)))] = Field(
        None, description="the cloud's region (the settings')"
    )
    zones: Annotated[tuple[Zone, ...], _one_or_more(Zone), Once] = Field(
        (), description="zones to launch in; the next one where one has no capacity"
    )
    spot: Flag = Field(default=False, description="cheaper machines that the cloud may take back")
    ttl: Annotated[
        InstanceOf[Ttl] | None,
        BeforeValidator(fields.optional(fields.ttl)),
        PlainSerializer(_life, when_used="unless-none"),
        WithJsonSchema(_LIFE_SCHEMA),
    ] = Field(
        None,
        description="life of a machine, which ends by itself afterwards: 30m, 4h, 2d; or {after: 4h, then: end}, where"
        " sync launches another one with replace, and the machine stops with stop",
    )
    disk_size: Annotated[
        int | None,
        BeforeValidator(fields.optional(fields.disk_size)),
        WithJsonSchema({"type": ["string", "integer", "null"]}),
    ] = Field(None, description="boot disk in GiB")
    ssh_port: Annotated[int | None, BeforeValidator(fields.optional(fields.whole(1, 65535)))] = Field(
        None, description="port of the SSH server (the settings')"
    )
    env: Annotated[tuple[EnvName, ...], _one_or_more(EnvName), Once] = Field(
        (), description="environment variables that scripts and templates may see"
    )
    ready: Annotated[Ready, BeforeValidator(fields.gate)] = Field(
        default_factory=Ready,
        description="when scripts may run: ssh, cloud-init, or {cloud-init, port, command}",
    )
    platform: Platform = Field("linux", description="what the image is: linux, or windows with OpenSSH")
    address: Address = Field("public", description="address to connect to: public (else private), or private")
    jump_host: Annotated[str | None, BeforeValidator(fields.optional(fields.jump_host))] = Field(
        None, description="SSH server to go through: user@host or user@host:port (the settings')"
    )
    on_failure: OnFailure = Field("stop", description="what follows a step that failed")
    timeouts: Timeouts = Field(default_factory=Timeouts, description="deadlines that replace the settings'")

    @field_validator("min_ready")
    @classmethod
    def _within_scale(cls, min_ready: int | None, info: ValidationInfo) -> int | None:
        scale = info.data.get("scale")
        if min_ready is not None and scale is not None and min_ready > scale:
            raise fields.Unfit(f"{min_ready} nodes can not be ready where the scale is {scale}")
        return min_ready

    @field_validator("tags")
    @classmethod
    def _room_for_tags(cls, tags: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        carried.check_room(tags, (), info)
        return tags

    @field_validator("labels")
    @classmethod
    def _room_for_labels(cls, labels: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        carried.check_room(info.data.get("tags", ()), labels, info)
        return labels

    @field_validator("ttl")
    @classmethod
    def _room_for_the_end(cls, ttl: Ttl | None, info: ValidationInfo) -> Ttl | None:
        if ttl is not None:
            carried.check_room(info.data.get("tags", ()), info.data.get("labels", {}), info, has_end=True)
        return ttl

    @field_validator("zones")
    @classmethod
    def _in_region(cls, zones: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        region = info.data.get("region")
        for zone in zones:
            if region and not zone.startswith(region):
                raise fields.Unfit(f"{shown(zone)} is not a zone of the region {shown(region)}")
        return zones


class LayoutEntry(LayoutKeys):
    """A layout as a file writes it, below its name."""

    ssh_keys: SshKeys | None = Field(None, description="key pair of this layout (the spec's)")


class Layout(LayoutKeys):
    """What to launch, how many, and what to run on them; complete, so that it can be launched alone.

    Made by :class:`~ogc_async.spec.SpecLoader` or :meth:`from_dict`. Paths are absolute. ``folder`` is the folder of
    the file that the layout was (first) written in, where its ``include`` and ``exclude`` patterns start.
    """

    name: LayoutName = Field(description="name of the layout", examples=["web"])
    ssh_keys: SshKeys
    folder: LocalPath = Field(default_factory=Path.cwd)

    def as_dict(self) -> dict[str, object]:
        """The layout in plain values, as JSON takes them, under the keys of a spec; ``from_dict`` reads it."""
        values = self.model_dump(mode="json", by_alias=True)
        return {"name": values.pop("name"), **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The layout that ``as_dict`` wrote, or one written by hand: ``name`` and ``ssh-keys`` are needed too.

        Relative paths start in ``folder``, which is the working folder unless given. Raises
        :class:`~ogc_async.errors.SpecError` with everything that is wrong.
        """
        return cls._from_plain(values)

    @classmethod
    def from_record(cls, values: Mapping[str, object]) -> Self:
        """The layout of a node on record, which an earlier release may have written.

        Its tags and labels may be some that ``from_dict`` refuses, as a launch would: the machine carries them, or
        what that release made of them. Raises :class:`~ogc_async.errors.SpecError` with everything else that is wrong.
        """
        return cls._from_plain(values, is_on_record=True)

    @classmethod
    def _from_plain(cls, values: Mapping[str, object], *, is_on_record: bool = False) -> Self:
        if not isinstance(values, Mapping):
            raise SpecError([Problem("layout", f"must be keys and values, not {shown(values)}")])
        given = _with_text_keys(values)
        folder = given.get("folder")
        start = Path.cwd() / folder if isinstance(folder, str | Path) else Path.cwd()
        context = {"folder": start, carried.ON_RECORD: is_on_record}
        try:
            return cls.model_validate(given, by_alias=True, by_name=False, context=context)
        except ValidationError as error:
            name = given.get("name")
            within = ("layouts", name) if isinstance(name, str) else ("layout",)
            raise SpecError(problems_of(error, cls, given, within=within)) from None

    @classmethod
    def of(cls, value: Layout | Mapping[str, object]) -> Layout:
        """``value`` as a layout, whichever of the two it is."""
        return value if isinstance(value, Layout) else cls.from_dict(value)
