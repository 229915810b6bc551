from __future__ import annotations

import pytest

from ratchet.open_address import warn_if_open


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.0.2.7", "2001:db8::1"])
def test_an_address_that_other_machines_can_reach_is_warned_of_in_one_line(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_if_open(host, "predict", "set RATCHET_API_KEYS")
    assert capsys.readouterr().err == (
        f"warning: listening on {host or 'all addresses'} without a key or a login: any machine that can connect can"
        " predict; set RATCHET_API_KEYS, or listen on 127.0.0.1\n"
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_a_loopback_address_is_not_warned_of(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    warn_if_open(host, "predict", "set RATCHET_API_KEYS")
    assert capsys.readouterr().err == ""
