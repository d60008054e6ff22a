"""`python -m gateway.cli` is the command `submeter`."""

from __future__ import annotations

from gateway.cli import main

main()
