"""A test cannot end the run of the tests by a signal to a process that it did not find."""

from __future__ import annotations

import os
import signal

import pytest


@pytest.mark.parametrize("pid", [0, -1])
def test_a_signal_to_a_process_that_was_not_found_is_refused(pid: int) -> None:
    with pytest.raises(ValueError, match="reaches the tests themselves"):
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("group", [0, 1, os.getpgrp()])
def test_a_signal_to_the_group_of_the_tests_is_refused(group: int) -> None:
    with pytest.raises(ValueError, match="reaches the tests themselves"):
        os.killpg(group, signal.SIGCONT)
