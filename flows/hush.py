"""Keeps a traceback out of the log of a served run that failed and has said why in one line.

Prefect's engine raises what a failed state holds. Ours hold an exit status, for whoever runs the
flow as a program; so the engine raised a TypeError about that, and logged it.
"""

import logging

_LOGGER = "prefect.flow_runs"  # which the engine logs to
_WORDS = "Unexpected result for failed state"  # of prefect/states.py


def hush() -> None:
    """Leave that one message out; once or often is the same."""
    logging.getLogger(_LOGGER).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, TypeError) and str(error).startswith(_WORDS))
