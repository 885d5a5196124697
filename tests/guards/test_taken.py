"""The guards that can be taken out are there."""

from __future__ import annotations

import pytest

from tests.faults.place import ROOT
from tests.guards.taken import GUARDS, Guard


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.promise)
def test_the_guard_is_there_and_so_is_its_test(guard: Guard) -> None:
    text = (ROOT / guard.file).read_text(encoding="utf-8")
    assert guard.taken_out(text) != text
    assert (ROOT / guard.tests[0]).is_file()
