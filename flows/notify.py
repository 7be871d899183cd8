"""Tells people how a retraining ended or that a batch failed; off until told where to.

    WORDMILL_NOTIFY="mailtos://user:password@host?to=team@example.org json://host:8080/hook"
    WORDMILL_NOTIFY="block:slack-webhook/team"      a notification block of Prefect's
    WORDMILL_NOTIFY_ON="failed rejected"            fewer occasions than all of them

In the environment and not in params.yaml: it changes no output, and addresses hold passwords.
A message that can't be delivered is a warning and no more.
"""

import logging
import os
import re
import socket
from pathlib import Path
from typing import Any

from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun

ADDRESSES = "WORDMILL_NOTIFY"
OCCASIONS = "WORDMILL_NOTIFY_ON"
_BLOCK = "block:"
# A comma may also stand in an address, between those a mail goes to.
_BETWEEN = re.compile(r"\s+|,+\s*(?=block:|\w+://)")

# By the name of a flow run's end. What is not here (nothing new, cancelled) tells nobody.
_OCCASION_BY_STATE = {
    "Failed": "failed",
    "Crashed": "failed",
    "Rejected": "rejected",
    "Promoted": "promoted",
    "Held": "held",
    "Skipped": "skipped",
    "Stopped": "stopped",
}
_WORDS = {
    "failed": "{what} failed",
    "rejected": "data rejected",
    "promoted": "a new champion",
    "held": "a new challenger, not promoted",
    "skipped": "retraining skipped",
    "stopped": "retraining stopped by its budget",
}
_KIND = {"failed": "failure", "rejected": "failure", "promoted": "success"}

log = logging.getLogger("prefect.wordmill")


def tell(flow: Flow[..., Any] | None, flow_run: FlowRun, state: State[Any]) -> None:
    """Prefect's hook at the end of a flow run: send what there is to tell.

    Of one whose process was killed the next start tells, of a retraining without its flow
    (flows/recovery.py).
    """
    occasion = _OCCASION_BY_STATE.get(state.name or "")
    if occasion is None or not os.environ.get(ADDRESSES) or occasion not in _wanted():
        return
    what = "batch" if flow is not None and flow.name == "batch" else "retraining"
    words = _WORDS[occasion].format(what=what)
    title = f"wordmill: {words} ({Path.cwd().name} on {socket.gethostname()})"
    body = f"{state.message or state.name}\n\nFlow run {flow_run.name}, {flow_run.id}"
    send(title, body, kind=_KIND.get(occasion, "info"))


def send(title: str, body: str, *, kind: str = "info") -> int:
    """Send a message to every address; returns how many took it, and warns of the others.

    Args:
        title: one line.
        body: plain text.
        kind: info, success, warning or failure; some services colour by it.
    """
    told = (text.strip(",") for text in _BETWEEN.split(os.environ.get(ADDRESSES, "")))
    addresses = [address for address in told if address]
    return sum(_sent(address, title, body, kind) for address in addresses)


def _wanted() -> set[str]:
    told = set(re.split(r"[\s,]+", os.environ.get(OCCASIONS, "").strip().lower())) - {""}
    if unknown := sorted(told - set(_WORDS)):
        log.warning(
            "%s: %s is no occasion; there are %s", OCCASIONS, ", ".join(unknown), ", ".join(_WORDS)
        )
    return told & set(_WORDS) or set(_WORDS)


def _sent(address: str, title: str, body: str, kind: str) -> bool:
    try:
        if address.startswith(_BLOCK):
            return _sent_by_block(address.removeprefix(_BLOCK), title, body)
        return _sent_by_apprise(address, title, body, kind)
    except Exception as error:  # noqa: BLE001  a run does not fail because nobody heard of it
        log.warning("no notification to %s: %s", shown(address), type(error).__name__)
        return False


def _sent_by_apprise(address: str, title: str, body: str, kind: str) -> bool:
    from apprise import Apprise, NotifyType

    service = Apprise.instantiate(address)
    if service is None:
        log.warning("no notification to %s: Apprise knows no such address", shown(address))
        return False
    is_sent = bool(service.notify(title=title, body=body, notify_type=NotifyType(kind)))
    if not is_sent:
        log.warning("no notification to %s: it was not taken", shown(address))
    return is_sent


def _sent_by_block(name: str, title: str, body: str) -> bool:
    from prefect.blocks.core import Block

    block: Any = Block.load(name)
    block.notify(body, title)
    return True


def shown(address: str) -> str:
    """An address without what may be secret in it: its kind and host."""
    if address.startswith(_BLOCK):
        return address
    kind, mark, rest = address.partition("://")
    if not mark:
        return "an address without ://"
    return f"{kind}://{re.split(r'[/?]', rest.rpartition('@')[2])[0]}"
