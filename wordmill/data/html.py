"""HTML to the text a reader sees: markup, scripts, menus and footers are left out.

The rules are resiliparse's: the article where it can find one, else all that is visible.
"""


def html_to_text(html: str) -> str:
    """The main text of a page, paragraphs apart by a blank line; may be empty.

    Args:
        html: a page or a piece of one; text without markup comes back as it is.
    """
    # Here and not above: cleaning and ingesting plain text should not need it.
    from resiliparse.extract.html2text import (  # pyright: ignore[reportMissingModuleSource]
        extract_plain_text,
    )

    return extract_plain_text(html, main_content=True)
