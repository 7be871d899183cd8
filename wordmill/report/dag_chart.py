"""The DAG as boxes from left to right: a stage stands right of all that it reads.

A line that another path already implies is left out of the drawing, not of the box's words.
"""

from markupsafe import Markup

Stages = list[tuple[str, list[str]]]
"""Each stage and those that it reads from, in order."""

_WIDTH, _HEIGHT = 104, 38
_ACROSS, _DOWN = 138, 58
_MARGIN = 2


def dag_chart(stages: Stages) -> Markup:
    """The drawing, at a width of its own."""
    if not stages:
        return Markup("")
    reads = {name: [s for s in sources if s in dict(stages)] for name, sources in stages}
    places = _places(reads)
    edges = [(a, b) for b in reads for a in _direct(b, reads)]
    width = _ACROSS * max(column for column, _ in places.values()) + _WIDTH + 2 * _MARGIN
    height = _DOWN * max(row for _, row in places.values()) + _HEIGHT + 2 * _MARGIN
    drawn = [_edge(places[a], places[b]) for a, b in edges]
    drawn += [_box(name, reads[name], places[name]) for name in reads]
    told = "; ".join(f"{n} reads {', '.join(r) or 'sources'}" for n, r in reads.items())
    frame = (
        '<svg class="dag" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img"'
        ' aria-label="{2}">{3}</svg>'
    )
    return Markup(frame).format(width, height, told, Markup("").join(drawn))


def _places(reads: dict[str, list[str]]) -> dict[str, tuple[int, int]]:
    """Column and row of each stage: the column is the longest way there, rows fill downwards."""
    columns: dict[str, int] = {}
    for name in reads:
        columns[name] = _depth(name, reads, columns, ())
    taken: dict[int, int] = {}
    places: dict[str, tuple[int, int]] = {}
    # The longest chain keeps to the first row: stages that much is made of come first.
    for name in sorted(reads, key=lambda n: -_reach(n, reads)):
        row = taken.get(columns[name], 0)
        taken[columns[name]] = row + 1
        places[name] = (columns[name], row)
    return places


def _depth(
    name: str, reads: dict[str, list[str]], known: dict[str, int], above: tuple[str, ...]
) -> int:
    if name in known:
        return known[name]
    sources = [s for s in reads[name] if s not in above]
    return max((_depth(s, reads, known, (*above, name)) + 1 for s in sources), default=0)


def _reach(name: str, reads: dict[str, list[str]]) -> int:
    """How many stages are made of this one, near or far."""
    return sum(name in _ancestors(other, reads) for other in reads)


def _ancestors(name: str, reads: dict[str, list[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(reads[name])
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.add(source)
            waiting += reads[source]
    return found


def _direct(name: str, reads: dict[str, list[str]]) -> list[str]:
    """The sources that no other source was made of."""
    sources = reads[name]
    return [s for s in sources if not any(s in _ancestors(o, reads) for o in sources if o != s)]


def _edge(a: tuple[int, int], b: tuple[int, int]) -> Markup:
    x1, y1 = _MARGIN + a[0] * _ACROSS + _WIDTH, _MARGIN + a[1] * _DOWN + _HEIGHT / 2
    x2, y2 = _MARGIN + b[0] * _ACROSS, _MARGIN + b[1] * _DOWN + _HEIGHT / 2
    bend = _ACROSS - _WIDTH
    if a[1] >= b[1]:  # along its own row, up at the end
        turn = x2 - bend
        path = f"M{x1} {y1}H{turn}C{turn + bend / 2} {y1} {turn + bend / 2} {y2} {x2} {y2}"
    else:
        turn = x1 + bend
        path = f"M{x1} {y1}C{x1 + bend / 2} {y1} {x1 + bend / 2} {y2} {turn} {y2}H{x2}"
    return Markup('<path class="edge" d="{}"/>').format(path)


def _box(name: str, reads: list[str], place: tuple[int, int]) -> Markup:
    x, y = _MARGIN + place[0] * _ACROSS, _MARGIN + place[1] * _DOWN
    drawn = (
        '<g><title>{}</title><rect x="{}" y="{}" width="{}" height="{}" rx="8"/>'
        '<text x="{}" y="{}" text-anchor="middle">{}</text></g>'
    )
    told = f"{name} reads {', '.join(reads) or 'sources'}"
    middle = (x + _WIDTH / 2, y + _HEIGHT / 2 + 4.5)
    return Markup(drawn).format(told, x, y, _WIDTH, _HEIGHT, *middle, name)
