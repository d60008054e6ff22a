"""Backups made beside a running writer, and the way back."""

from __future__ import annotations

import asyncio
import json
import resource
import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from gateway.service.messages import Ack
from gateway.store import Store, StoreError, StoreInUseError, StoreView
from gateway.store.backup import backup, check, restore
from tests.adapters.stores import QUARTER, START, charge, new_store, poll, reading
from tests.adapters.test_settle import CLOSED, NOVEMBER, OCTOBER, PROPERTY, House

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DECEMBER = datetime(2026, 11, 30, 23, tzinfo=UTC)
AT = datetime(2026, 11, 21, 19, 30, tzinfo=UTC)


async def test_a_backup_beside_a_busy_writer_is_one_state_of_the_store(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    async with Store(url) as store:
        for number in range(50):
            await store.keep([poll(reading(START + number * QUARTER, str(number)))])
        copying = asyncio.create_task(asyncio.to_thread(backup, url, tmp_path / "copy.db"))
        number = 50
        while not copying.done():
            await store.keep([poll(reading(START + number * QUARTER, str(number)))])
            number += 1
        done = await copying
        await store.keep([poll(reading(START + number * QUARTER, str(number)))])
        assert 50 <= done.polls <= number
    assert check(tmp_path / "copy.db") == done
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.glob("copy*")] == ["copy.db"]
    async with StoreView(f"sqlite:///{tmp_path}/copy.db") as copy:
        (found,) = (await copy.readings({"heat-01"}, START, START + number * QUARTER)).values()
        assert [str(each.index) for each in found] == [str(each) for each in range(done.polls)]


async def test_a_restored_store_is_the_one_of_the_backup_and_the_other_is_kept(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    async with Store(url) as store:
        await store.publish([charge(1)], START)
        backup(url, tmp_path / "copy.db")
        before = await store.streams()
        await store.publish([charge(2)], START)
        with pytest.raises(StoreInUseError, match="stop it first"):
            restore(url, tmp_path / "copy.db", AT)
    done = restore(url, tmp_path / "copy.db", AT)
    assert (done.copy.charges, done.replaced) == (1, tmp_path / "gateway.db.replaced-20261121T193000Z")
    async with Store(url) as store:
        after = await store.streams()
        assert {one.name for one in before}.isdisjoint(one.name for one in after)
        assert (after[0].kind, after[0].head) == ("charge", 1)
    async with StoreView(f"sqlite:///{done.replaced}") as old:
        assert (await old.streams())[0].head == 2
    assert {each.name for each in tmp_path.glob("gateway.db.restoring*")} == set()
    assert check(tmp_path / "copy.db").charges == 1


def test_the_store_is_not_put_in_its_own_place(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    (tmp_path / "link.db").symlink_to(tmp_path / "gateway.db")
    before = (tmp_path / "gateway.db").read_bytes()
    for name in ("gateway.db", "link.db"):
        with pytest.raises(StoreError, match=rf"{name}: this is the store itself: name a file that"):
            restore(url, tmp_path / name, AT)
    assert (tmp_path / "gateway.db").read_bytes() == before
    assert list(tmp_path.glob("*replaced*")) == []


async def test_a_store_killed_in_the_middle_is_replaced_without_its_log(tmp_path: Path) -> None:
    url, path = new_store(tmp_path), tmp_path / "gateway.db"
    async with Store(url) as store:
        await store.publish([charge(1)], START)
        backup(url, tmp_path / "copy.db")
        await store.publish([charge(2)], START)
        left = {end: path.with_name(path.name + end).read_bytes() for end in ("", "-wal")}
    for end, held in left.items():
        path.with_name(path.name + end).write_bytes(held)
    done = restore(url, tmp_path / "copy.db", AT)
    async with StoreView(url) as view:
        assert (await view.streams())[0].head == 1
    async with StoreView(f"sqlite:///{done.replaced}") as old:
        assert (await old.streams())[0].head == 2


async def test_a_log_that_somebody_still_reads_does_not_get_into_the_restored_store(tmp_path: Path) -> None:
    url, path = new_store(tmp_path), tmp_path / "gateway.db"
    backup(url, tmp_path / "copy.db")
    async with Store(url) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM charge").fetchall()
            await store.publish([charge(1), charge(2)], START)
            await store.close()
            restore(url, tmp_path / "copy.db", AT)
            async with StoreView(url) as view:
                assert (await view.streams())[0].head == 0
    assert check(path).charges == 0


async def test_a_damaged_store_is_replaced_too(tmp_path: Path) -> None:
    url, path = new_store(tmp_path), tmp_path / "gateway.db"
    backup(url, tmp_path / "copy.db")
    path.write_bytes(b"\0" * 5000)
    path.with_name("gateway.db-wal").write_bytes(b"nonsense")
    done = restore(url, tmp_path / "copy.db", AT)
    assert done.replaced is not None
    assert done.replaced.read_bytes() == b"\0" * 5000
    async with StoreView(url) as view:
        assert len(await view.streams()) == 4


async def test_a_backup_comes_back_where_there_is_no_store(tmp_path: Path) -> None:
    backup(new_store(tmp_path), tmp_path / "copy.db")
    (tmp_path / "box").mkdir()
    assert restore(f"sqlite:///{tmp_path}/box/gateway.db", tmp_path / "copy.db", AT).replaced is None
    async with StoreView(f"sqlite:///{tmp_path}/box/gateway.db") as view:
        assert len(await view.streams()) == 4


def broken(folder: Path) -> Iterator[Path]:
    good = folder / "good.db"
    backup(f"sqlite:///{folder}/gateway.db", good)
    whole = good.read_bytes()
    for name, held in {
        "text.db": b"this is no database\n" * 500,
        "cut.db": whole[: len(whole) // 2],
        "hole.db": whole[:8192] + b"\xff" * 4096 + whole[12288:],
        "empty.db": b"",
    }.items():
        (folder / name).write_bytes(held)
        yield folder / name
    with closing(sqlite3.connect(folder / "other.db")) as other:
        other.execute("CREATE TABLE sensor (value)")
    yield folder / "other.db"
    yield folder / "none.db"
    yield folder


def test_what_is_no_good_backup_is_refused_in_one_sentence_and_nothing_changes(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    before = (tmp_path / "gateway.db").read_bytes()
    for file in broken(tmp_path):
        with pytest.raises(StoreError) as told:
            restore(url, file, AT)
        assert str(told.value).startswith(f"{file}: ")
        assert "\n" not in str(told.value)
    assert (tmp_path / "gateway.db").read_bytes() == before
    assert not list(tmp_path.glob("gateway.db.re*"))


def test_a_backup_of_a_newer_release_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    backup(url, tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy, copy:
        copy.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="install the newer one"):
        restore(url, tmp_path / "copy.db", AT)
    assert not list(tmp_path.glob("gateway.db.re*"))


def test_a_backup_never_goes_over_a_file_or_where_there_is_no_folder(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    (tmp_path / "copy.db").write_text("mine")
    for file in (tmp_path / "copy.db", tmp_path / "none" / "copy.db"):
        with pytest.raises(StoreError, match=f"^{file}: "):
            backup(url, file)
    assert (tmp_path / "copy.db").read_text() == "mine"


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_backup_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    with at_most(20_000), pytest.raises(StoreError, match=r"copy\.db: the backup cannot be written"):
        backup(url, tmp_path / "copy.db")
    assert not list(tmp_path.glob("copy*"))


def test_a_restore_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    backup(url, tmp_path / "copy.db")
    before = (tmp_path / "gateway.db").read_bytes()
    with at_most(20_000), pytest.raises(StoreError, match=r"gateway\.db: the store cannot be written"):
        restore(url, tmp_path / "copy.db", AT)
    assert (tmp_path / "gateway.db").read_bytes() == before
    assert not list(tmp_path.glob("gateway.db.re*"))


def test_a_postgresql_store_is_left_to_its_own_programs() -> None:
    url = "postgresql+psycopg://submeter@localhost/submeter"
    with pytest.raises(StoreError, match="pg_dump"):
        backup(url, AT)  # type: ignore[arg-type]  # it is not looked at
    with pytest.raises(StoreError, match="pg_restore"):
        restore(url, AT, AT)  # type: ignore[arg-type]  # it is not looked at


class Consumer:
    """Keeps events by stream and number, once; the newest stream of charges is the truth (docs/decisions/0008)."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], dict[str, Any]] = {}
        self.newest = ""

    async def listen(self, store: Store) -> None:
        """Take over what there is and acknowledge it."""
        self.newest = next(one.name for one in await store.streams() if one.kind == "charge")
        for event in await store.events(self.newest, 0, 1000):
            self.kept.setdefault((event.stream, event.seq), json.loads(event.data))
        seq = max([seq for stream, seq in self.kept if stream == self.newest], default=0)
        await store.acknowledge([Ack(consumer="c", stream=self.newest, seq=seq)], {self.newest: seq})

    def total(self) -> dict[str, Fraction]:
        """What each payer owes."""
        sums: dict[str, Fraction] = {}
        for told in [told for (stream, _), told in self.kept.items() if stream == self.newest]:
            sums[told["payer"]["id"]] = sums.get(told["payer"]["id"], Fraction(0)) + Fraction(told["amount"])
        return sums


async def test_after_the_restore_of_an_older_backup_the_consumers_total_is_the_truth(tmp_path: Path) -> None:
    url, consumer = new_store(tmp_path), Consumer()
    async with Store(url) as store:
        house = House(store)
        await house.told(PROPERTY)
        await house.counted(OCTOBER, "10", "100")
        backup(url, tmp_path / "copy.db")  # before October is read to its end
        await house.counted(NOVEMBER, "110", "130")
        await house.settler.settle_due()
        await consumer.listen(store)
        assert consumer.total() == {"ada": Fraction(20), "own": Fraction(6)}
    restore(url, tmp_path / "copy.db", AT)
    async with Store(url) as store:
        house = House(store)
        await house.counted(CLOSED, "120", "132")  # the meters have counted on
        await house.settler.settle_due()
        await consumer.listen(store)
        house.clock.shown = DECEMBER + (CLOSED - NOVEMBER)
        await house.counted(DECEMBER, "150", "140")
        await house.settler.settle_due()
        await consumer.listen(store)
        assert consumer.total() == {"ada": Fraction(140, 5), "own": Fraction(40, 5)}
