"""Every alarm code stands in the manual, and no other."""

from __future__ import annotations

import re
from typing import get_args

from gateway.core.session.machine import Alarming
from gateway.service import access, poll
from gateway.service.access_end import SESSION_UNBILLED
from gateway.service.incomplete import METER_INCOMPLETE
from gateway.service.judge import READING_IMPLAUSIBLE
from gateway.service.meter_status import METER_STATUS
from gateway.service.reports import CODES
from gateway.service.settle import CLOCK_UNTRUSTED, HELD
from gateway.service.twice import METER_TWICE
from gateway.service.unwired import METER_UNWIRED
from tests.broker import ROOT

OF_METERS = {poll.LINE_DOWN, poll.METER_SILENT, poll.METER_WRONG, METER_INCOMPLETE, METER_STATUS, METER_TWICE}
OF_ACCESS = {access.MACHINE_UNKNOWN, access.READER_DOWN, access.BADGE_COLLISION, access.TAP_STORM, SESSION_UNBILLED}


def test_the_manual_names_every_code_of_an_alarm() -> None:
    manual = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    _, _, table = manual.partition("Its code is one of these:\n\n")
    named = re.findall(r"`([a-z_]+)`", table.partition("\n\n")[0])
    known = {*HELD, *CODES, *get_args(Alarming), *OF_METERS, *OF_ACCESS}
    assert sorted(named) == sorted({*known, METER_UNWIRED, READING_IMPLAUSIBLE, CLOCK_UNTRUSTED})
