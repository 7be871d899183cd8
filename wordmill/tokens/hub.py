"""What it means that a checkpoint can't be loaded: the hub is away, or the checkpoint is not there.

Tokenizers and models of checkpoints are named by the same key, `tokenize.checkpoint`.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from wordmill.errors import DataError, TryAgainError

# What the chain of causes holds where the hub was not reached, and where it said no.
_AWAY = {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectionError", "TimeoutException"}
_ANSWERED = {"RepositoryNotFoundError", "RevisionNotFoundError", "RemoteEntryNotFoundError"}


@contextmanager
def load_errors_named(name: str, what: str) -> Generator[None]:
    """Turn the errors of a block that loads a part of a checkpoint into one line.

    Args:
        name: a folder, or a name on the hub.
        what: the part.

    Raises:
        DataError: it is not there or can't be loaded.
        TryAgainError: the hub does not answer.
    """
    try:
        yield
    except (OSError, ValueError, ImportError, KeyError, RuntimeError, SafetensorError) as error:
        causes = _causes(error)
        reason = str(error).strip().partition("\n")[0]
        if causes & _AWAY and not causes & _ANSWERED:
            raise TryAgainError(f"tokenize.checkpoint: {name}: {reason}") from None
        found = (
            f"the {what} of this folder can't be loaded"
            if Path(name).is_dir()
            else f"is no folder with a {what} here, and can't be loaded from the hub"
        )
        raise DataError(f"tokenize.checkpoint: {name}: {found}: {reason}") from None


def _causes(error: BaseException | None) -> set[str]:
    """The names of the classes of an error and of all that led to it."""
    found: set[str] = set()
    while error is not None:
        found |= {kind.__name__ for kind in type(error).__mro__}
        error = error.__cause__ or error.__context__
    return found
