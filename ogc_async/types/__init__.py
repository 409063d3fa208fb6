"""The frozen values that travel between the rooms."""

from ogc_async.types.launch import (
    DescribeRequest,
    Disk,
    HostKey,
    Instance,
    InstanceState,
    LaunchFailure,
    LaunchRequest,
    Market,
    Offer,
    Port,
    Prepared,
    Volume,
)
from ogc_async.types.life import End, EndedBy, Then, Ttl
from ogc_async.types.node import LIVE, NodeSnapshot, NodeState, UserSnapshot
from ogc_async.types.reap import EndsWith, Find, FindKind, NotLookedAt, ReapResult
from ogc_async.types.result import (
    DeployResult,
    ExtendResult,
    LaunchResult,
    NodeFailure,
    StepResult,
    StepState,
    TeardownResult,
    UpResult,
)
from ogc_async.types.sync import Change, ChangeKind, Doubt, SyncPlan, SyncResult
from ogc_async.types.timeline import Milestone, MilestoneKind

__all__ = [
    "LIVE",
    "Change",
    "ChangeKind",
    "DeployResult",
    "DescribeRequest",
    "Disk",
    "Doubt",
    "End",
    "EndedBy",
    "EndsWith",
    "ExtendResult",
    "Find",
    "FindKind",
    "HostKey",
    "Instance",
    "InstanceState",
    "LaunchFailure",
    "LaunchRequest",
    "LaunchResult",
    "Market",
    "Milestone",
    "MilestoneKind",
    "NodeFailure",
    "NodeSnapshot",
    "NodeState",
    "NotLookedAt",
    "Offer",
    "Port",
    "Prepared",
    "ReapResult",
    "StepResult",
    "StepState",
    "SyncPlan",
    "SyncResult",
    "TeardownResult",
    "Then",
    "Ttl",
    "UpResult",
    "UserSnapshot",
    "Volume",
]
