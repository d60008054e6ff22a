"""A frame that cannot be believed says which octet is wrong, counted from 0 in the frame as it came."""

from __future__ import annotations

import pytest

from drivers.mbus.frame import FrameError
from drivers.mbus.telegram import decode
from tests.drivers.mbus.slave import long_frame

HEADER = "72785634122440010755000000"
FIRST_RECORD = 6 + 13


def refused(octets: bytes) -> FrameError:
    with pytest.raises(FrameError) as caught:
        decode(octets)
    return caught.value


@pytest.mark.parametrize(
    ("octets", "offset"),
    [
        pytest.param("", 0, id="nothing"),
        pytest.param("e5", 0, id="an acknowledgement"),
        pytest.param("00", 0, id="no start"),
        pytest.param("680303", 3, id="ends in the start"),
        pytest.param("68030468080178", 2, id="the second length"),
        pytest.param("68030369080178", 3, id="the second start"),
        pytest.param("680202680801", 1, id="no room for C, A and CI"),
        pytest.param("680303680801788116ff", 9, id="an octet too many"),
        pytest.param("680303680801788100", 8, id="the stop"),
        pytest.param("680303680801788216", 7, id="the checksum"),
        pytest.param("105b015d16", 3, id="the checksum of a short frame"),
        pytest.param("105b015c17", 4, id="the stop of a short frame"),
        pytest.param("105b01", 3, id="a short frame too short"),
        pytest.param("1008010916", 1, id="the control field of a short frame"),
    ],
)
def test_a_broken_frame_says_which_octet(octets: str, offset: int) -> None:
    assert refused(bytes.fromhex(octets)).offset == offset


@pytest.mark.parametrize(
    ("records", "behind_header"),
    [
        pytest.param("2f2f3f", 2, id="a reserved DIF"),
        pytest.param("0413e803", 4, id="ends in the data"),
        pytest.param("0413e8030000" + "04", 7, id="ends in a later record"),
        pytest.param("84" + "80" * 11 + "00", 11, id="the eleventh DIFE"),
        pytest.param("04" + "93" + "80" * 10 + "00", 12, id="the eleventh VIFE"),
        pytest.param("0d13f7", 2, id="a reserved length"),
        pytest.param("027c03010203" + "6400", 2, id="a unit that cannot be read"),
    ],
)
def test_a_broken_record_says_which_octet_of_the_frame(records: str, behind_header: int) -> None:
    error = refused(long_frame(bytes.fromhex(HEADER + records)))

    assert error.offset == FIRST_RECORD + behind_header
    assert str(error) == f"{error.reason} (octet {error.offset})"


@pytest.mark.parametrize(
    ("user_data", "offset"),
    [
        pytest.param("f0", 6, id="an unknown CI field"),
        pytest.param("720304", 9, id="ends in the header"),
        pytest.param("7a0304", 9, id="ends in the short header"),
        pytest.param("73785634", 10, id="ends in the fixed structure"),
    ],
)
def test_broken_user_data_say_which_octet_of_the_frame(user_data: str, offset: int) -> None:
    assert refused(long_frame(bytes.fromhex(user_data))).offset == offset


def test_a_wrong_control_field_is_octet_four() -> None:
    assert refused(long_frame(bytes.fromhex(HEADER), control=0x0B)).offset == 4
