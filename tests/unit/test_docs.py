"""What the documentation names has to be there."""

import re

from conftest import ROOT

from wordmill.params.section import read_params


def keys(section, *, prefix=""):
    for key, value in section.items():
        if isinstance(value, dict):
            yield from keys(value, prefix=f"{prefix}{key}.")
        else:
            yield prefix + key


def test_every_param_is_explained():
    page = (ROOT / "docs/params.md").read_text()
    params = read_params(ROOT / "params.yaml")
    missing = []
    for name, section in params.items():
        heading = next((h for h in re.findall(r"^## .*", page, re.MULTILINE) if name in h), "")
        part = page[page.index(heading) + 2 :].partition("\n## ")[0]
        explained = set(re.findall(r"`([a-z_0-9.]+)`", part))
        found = keys(section) if isinstance(section, dict) else [name]
        missing += [f"{name}: {key}" for key in found if key not in explained]
    assert missing == []


def test_every_link_leads_somewhere():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "data/raw/README.md"]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page}: {link}"


def test_every_make_target_of_the_docs_is_there():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    named = {t for page in pages for t in re.findall(r"make ([a-z]+)`", page.read_text())}
    assert named <= targets
