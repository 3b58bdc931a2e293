"""Guards: what stops a runaway without the client's help, and lets legitimate traffic be."""

from router.guards.events import Event, event_of, plain_of
from router.guards.keeper import Keeper
from router.guards.ladder import RUNGS, Action
from router.guards.rules import GUARDS
from router.guards.state import Case
from router.guards.trips import Actor, ruled_of, trip_fields, trip_of
from router.guards.verdicts import Mark, Verdict
from router.guards.volatile import STAMP, bare, normalised

__all__ = [
    "GUARDS",
    "RUNGS",
    "STAMP",
    "Action",
    "Actor",
    "Case",
    "Event",
    "Keeper",
    "Mark",
    "Verdict",
    "bare",
    "event_of",
    "normalised",
    "plain_of",
    "ruled_of",
    "trip_fields",
    "trip_of",
]
