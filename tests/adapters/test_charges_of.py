"""What a person asks for whom: the charges of one payer, from a real store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.adapters.test_foreseen import desk

if TYPE_CHECKING:
    from tests.adapters.importing import Desk

__all__ = ["desk"]


def test_the_charges_of_one_payer_are_listed(desk: Desk) -> None:
    every = desk.submeter("charges").stdout.splitlines()
    assert [line.split()[3] for line in every[:-1]] == ["blumer", "blumer"]
    assert desk.submeter("charges", "--payer", "blumer", "--month", "2026-10").stdout.splitlines() == every
    assert desk.submeter("charges", "--payer", "immo-ag").stdout == "0 charges\n"
    refused = desk.submeter("charges", "--payer", "nix")
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert refused.stderr.startswith("user nix: there is none of this id; there are: blumer, ")
