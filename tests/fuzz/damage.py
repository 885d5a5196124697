"""Ways in which a file can be wrong, drawn by Hypothesis from files that are right."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

# What stands where something else was meant: other types, edges of numbers, odd texts.
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2.0, 0.5, 10**6 + 1, 2**63, 10**30, float("inf"), float("nan")]),
    st.sampled_from(["", " ", "a\nb", "\x00", "é🙂", "../../etc/passwd", "{0.__class__}", "("]),
    st.sampled_from([[], [[]], {}, {"a": 1}, [1, "a"], [None]]),
    st.text(max_size=8),
    st.integers(-5, 70000),
).map(copy.deepcopy)  # or what is put into a list next would be in every later draw, or in itself
# What YAML has beside plain values, and what an editor or a merge leaves behind.
SNIPPETS = st.sampled_from(
    [
        "\n<<<<<<< HEAD\n",
        "\n? [a, b]\n: c\n",
        "\n1: a\n",
        "\nx: !!python/object/apply:os.system ['false']\n",
        "\nx: !!binary aGVsbG8=\n",
        "\nx: !!timestamp x\n",
        "\nx: 2024-13-45\n",
        "\na: &a [1, *a]\n",
        "\na: &a [x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n",
        "\n<<: {a: b}\n",
        "\nx: " + "[" * 400 + "]" * 400,
        "\nx: " + "{a: " * 40 + "1" + "}" * 40,
        "\nx: " + "9" * 5000 + "\n",
        '\nx: "\\UFFFFFFFF"\n',
        '\nx: "\\ud800"\n',
        "\nx: 0b_\n",
        "\nx: .inf\n",
        "\n---\n",
        "\t",
        "\x00",
        "\ufeff",
        "'",
        '"',
        "%",
        "\u2028",
    ]
)


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in nested mappings and lists."""
    items: Any = ()
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, list):
        items = enumerate(content)
    for key, value in items:
        yield (*at, key)
        yield from places(value, (*at, key))


@st.composite
def spoilt(draw: st.DrawFn, content: Any) -> Any:
    """`content` (mappings, lists, values) with one to three things changed."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        every = list(places(content))
        if not every:
            break
        *parents, last = draw(st.sampled_from(every))
        inside = content
        for key in parents:
            inside = inside[key]
        match draw(st.sampled_from(["junk", "drop", "add", "swap", "again", "rename"])):
            case "junk":
                inside[last] = draw(JUNK)
            case "drop":
                del inside[last]
            case "swap":
                other: Any = content
                for key in draw(st.sampled_from(every)):
                    other = other[key] if _has(other, key) else other
                inside[last] = copy.deepcopy(other)
            case "add" | "rename" if isinstance(inside, dict):
                name = draw(st.one_of(st.sampled_from(["seed", "dataset", "method"]), st.text()))
                inside[name] = inside.pop(last) if draw(st.booleans()) else draw(JUNK)
            case _ if isinstance(inside, list):
                inside.append(copy.deepcopy(inside[last]))
    return content


def _has(inside: Any, key: Any) -> bool:
    if isinstance(inside, list):
        return isinstance(key, int) and key < len(inside)
    return isinstance(inside, dict) and key in inside


@st.composite
def garbled(draw: st.DrawFn, text: str, snippets: st.SearchStrategy[str] = SNIPPETS) -> str:
    """`text` cut short, with a piece lost, doubled or put elsewhere, or something foreign in it."""
    for _ in range(draw(st.integers(1, 2))):
        start = draw(st.integers(0, max(0, len(text) - 1)))
        stop = draw(st.integers(start, min(len(text), start + 40)))
        line = text.rfind("\n", 0, start) + 1
        match draw(st.sampled_from(["cut", "lose", "double", "foreign", "line"])):
            case "cut":
                text = text[:start]
            case "lose":
                text = text[:start] + text[stop:]
            case "double":
                text = text[:stop] + text[start:]
            case "foreign":
                text = text[:start] + draw(snippets) + text[start:]
            case "line":
                text = text[:line] + draw(snippets) + text[line:]
    return text
