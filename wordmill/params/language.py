"""A language as params name it."""

from typing import Annotated

from pydantic import AfterValidator

from wordmill.languages import LANGUAGES


def _language(code: str) -> str:
    if code not in LANGUAGES:
        raise ValueError(f"got '{code}'; must be an ISO 639-1 code such as en, de or zh")
    return code


Language = Annotated[str, AfterValidator(_language)]
"""An ISO 639-1 code."""
