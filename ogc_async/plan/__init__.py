"""What is to be done, decided without doing it: names, batches and requests. Nothing here waits or touches a cloud."""

from ogc_async.plan.batches import Batch, cut, expand, next_offer, offers
from ogc_async.plan.diff import Found, World, absent, doubtful, find_changes, find_instances, way_out
from ogc_async.plan.ends import end_of, ends_in_s, farewell, is_overdue, is_replaced, is_time_over, judge, life_of
from ogc_async.plan.group import launch_request
from ogc_async.plan.naming import new_suffixes, new_token, node_name
from ogc_async.plan.places import Place, by_place

__all__ = [
    "Batch",
    "Found",
    "Place",
    "World",
    "absent",
    "by_place",
    "cut",
    "doubtful",
    "end_of",
    "ends_in_s",
    "expand",
    "farewell",
    "find_changes",
    "find_instances",
    "is_overdue",
    "is_replaced",
    "is_time_over",
    "judge",
    "launch_request",
    "life_of",
    "new_suffixes",
    "new_token",
    "next_offer",
    "node_name",
    "offers",
    "way_out",
]
