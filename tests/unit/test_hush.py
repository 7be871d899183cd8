"""A served run that fails shows its one line, and no traceback of Prefect's."""

import logging

import pytest
from prefect.logging.loggers import get_logger
from prefect.states import Failed

from flows.hush import hush

ENGINE = "Engine execution exited with unexpected exception"  # as prefect/flow_engine.py says it


@pytest.fixture
def shown(monkeypatch):
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())
    log = get_logger("flow_runs")
    monkeypatch.setattr(log, "handlers", [handler])  # Prefect's own would ask for a server
    monkeypatch.setattr(log, "filters", [])
    monkeypatch.setattr(log, "propagate", False)
    hush()
    return found


def logged(error: TypeError | None) -> None:
    try:
        if error:
            raise error
        Failed(message="data rejected", data=65).result()
    except TypeError:
        get_logger("flow_runs").exception(ENGINE)


def test_what_a_failed_state_holds_is_no_news_and_a_fault_is(shown):
    logged(None)
    assert shown == []
    logged(TypeError("a fault of ours"))
    get_logger("flow_runs").error("told")
    assert shown == [ENGINE, "told"]
