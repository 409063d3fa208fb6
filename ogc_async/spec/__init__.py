"""The YAML spec: what to launch, how many, and what to run on them. Checks shape; touches no file but the YAML's."""

from ogc_async.spec.document import Spec
from ogc_async.spec.layout import Layout, SshKeys, Timeouts
from ogc_async.spec.loader import SpecLoader

__all__ = ["Layout", "Spec", "SpecLoader", "SshKeys", "Timeouts"]
