"""What is said of a name that there is not."""

from __future__ import annotations

import pytest

from workflows.naming import known
from workflows.schema import ConfigError

ROWS = ["random, offline", "random, online", "closest, online"]


@pytest.mark.parametrize(
    ("name", "allowed", "listed", "said"),
    [
        ("mnst", ["mnist", "ffhq"], "", "no such 'mnst'; did you mean mnist? allowed: mnist, ffhq"),
        ("zzz", ["mnist", "ffhq"], "", "no such 'zzz'; allowed: mnist, ffhq"),
        ("mnst", ["mnist"], "look there", "no such 'mnst'; did you mean mnist? (look there)"),
        ("", ROWS, "", "no such ''; allowed: random, offline; random, online; closest, online"),
        ("zzz", [], "", "no such 'zzz'; allowed: none"),
    ],
)
def test_an_unknown_name_gets_the_nearest_and_all(
    name: str, allowed: list[str], listed: str, said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        known(name, allowed, "no such", listed)
    assert str(refused.value) == said


def test_a_known_name_is_itself() -> None:
    assert known("closest, online", ROWS, "no such") == "closest, online"
