"""A test cannot end the run of the tests by a signal to a process that it did not find."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest


@pytest.mark.parametrize("pid", [0, -1])
def test_a_signal_to_a_process_that_was_not_found_is_refused(pid: int) -> None:
    with pytest.raises(ValueError, match="reaches the tests themselves"):
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("group_of", [lambda: 0, lambda: 1, os.getpgrp], ids=["0", "1", "own"])
def test_a_signal_to_the_group_of_the_tests_is_refused(group_of: Callable[[], int]) -> None:
    with pytest.raises(ValueError, match="reaches the tests themselves"):
        os.killpg(group_of(), signal.SIGCONT)
