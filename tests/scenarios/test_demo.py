from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.broker import ROOT, Broker, mosquitto
from tests.small_house import DEVICES, PROPERTY
from tests.verifier import canonical

DEMO = [sys.executable, "-m", "simulators.demo"]
VERIFIER = Path(__file__).parent.parent / "verifier.py"


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A building of one flat with one meter and a move."""
    mosquitto()  # or skip
    folder = tmp_path / "house"
    folder.mkdir()
    (folder / "devices.toml").write_text(DEVICES)
    (folder / "property.toml").write_text(PROPERTY)
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A demo that has ended well: where, what it printed, the charges received."""

    folder: Path
    printed: str
    charges: list[dict[str, Any]]


def environment(**asked: str) -> dict[str, str]:
    """Ours, without what somebody may have asked of another demo."""
    kept = {name: value for name, value in os.environ.items() if name not in {"DEMO_SECONDS", "BROKER", "BUILDING"}}
    return kept | asked


def run(folder: Path, **asked: str) -> subprocess.CompletedProcess[str]:
    """The demo in a folder of its own, to its end."""
    return subprocess.run(DEMO, cwd=folder, env=environment(**asked), capture_output=True, text=True, check=False)


def begin(folder: Path, **asked: str) -> subprocess.Popen[str]:
    """The demo, once the first day has passed."""
    process = subprocess.Popen(
        DEMO, cwd=folder, env=environment(**asked), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "Oct 2026" in line:
            return process
    pytest.fail(f"the demo ended before its first day:\n{process.communicate()[1]}")


def left_over(folder: Path) -> dict[int, str]:
    """The processes that work in the demo's folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # it has ended meanwhile
                continue
            if f"{folder}/build/demo" in command:
                found[int(entry.name)] = command
    return found


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Month:
    """October of the Sonnenhof, played once."""
    mosquitto()  # or skip
    folder = tmp_path_factory.mktemp("sonnenhof")
    done = run(folder, DEMO_SECONDS="500")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (folder / "build/demo/charges.jsonl").read_text().splitlines()
    return Month(folder=folder, printed=done.stdout, charges=[json.loads(line) for line in lines])


def test_the_month_of_the_sonnenhof_closes_and_agrees_with_the_truth(month: Month) -> None:
    assert "broker     Mosquitto at 127.0.0.1:" in month.printed
    assert "subscriber demo speaks MQTT 5" in month.printed
    assert "All agrees: 49 quantities by payer and register, 10 amounts by payer." in month.printed
    assert month.printed.count("\nacknowledged ") == len(month.charges)
    reasons = {charge["data"]["payer"]["reason"] for charge in month.charges}
    assert reasons == {"occupancy", "vacancy", "remainder", "unattributed"}
    assert left_over(month.folder) == {}


def test_the_readme_shows_what_it_prints(month: Month) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("make demo DEMO_SECONDS=60\n")[2].partition("\n\n")[0]
    printed = set(re.sub(r"127\.0\.0\.1:[0-9]+", "BROKER", month.printed).splitlines())
    wanted = {line.strip() for line in re.sub(r"127\.0\.0\.1:[0-9]+", "BROKER", shown).splitlines()} - {"..."}
    assert len(wanted) > 5
    assert wanted <= printed


def test_the_readme_explains_a_charge_as_it_does(month: Month) -> None:
    shown = (ROOT / "README.md").read_text(encoding="utf-8").partition("` lists them\n")[2].partition("\n\n")[0]
    data = (event["data"] for event in month.charges)
    charge = next(one for one in data if (one["payer"]["id"], one["register"]) == ("novak", "power-lift-import"))
    command = [sys.executable, "-m", "gateway.cli", "--config", "build/demo/gateway.toml", "explain"]
    asked = [*command, charge["charge_id"]]
    said = subprocess.run(asked, cwd=month.folder, capture_output=True, text=True, check=True).stdout
    wanted = {line.strip() for line in shown.splitlines()} - {"..."}
    assert len(wanted) == 4
    assert wanted <= {line.strip() for line in said.splitlines()}


def test_who_taps_and_gets_green_pays_the_wash_and_nobody_else_does(month: Month) -> None:
    washes = [charge["data"] for charge in month.charges if charge["data"]["session"]]
    assert [(one["payer"]["id"], one["component"], one["amount"]) for one in washes] == [
        ("blumer", "cycle", "1.20"),
        ("blumer", "energy", "0.26"),
        ("rossi", "cycle", "1.20"),
        ("rossi", "energy", "0.34"),
        ("weber", "cycle", "1.20"),
        ("weber", "energy", "0.19"),
    ]
    lamps = [line.rpartition(" ")[2] for line in month.printed.splitlines() if " taps at washer-1: " in line]
    assert lamps == ["green", "green", "red", "green", "red"]


def test_every_charge_of_the_month_is_verified_from_its_message_alone(month: Month, tmp_path: Path) -> None:
    assert verifier(month.charges, tmp_path).stdout == f"{len(month.charges)} charges verified\n"


@pytest.mark.parametrize(
    ("path", "forged"),
    [
        (("amount",), "0.01"),
        (("quantity",), "9.999"),
        (("unit_price",), "0.9999"),
        (("allocation", "numerator"), "7"),
        (("allocation", "position"), 1),
        (("evidence", "segments", 0, "until", "value"), "99999"),
    ],
)
def test_a_forged_number_is_found_even_with_ids_and_hashes_made_anew(
    month: Month, tmp_path: Path, path: tuple[Any, ...], forged: object
) -> None:
    events = json.loads(json.dumps(month.charges))
    event = next(event for event in events if event["data"]["allocation"])
    holder = event["data"]
    for step in path[:-1]:
        holder = holder[step]
    assert holder[path[-1]] != forged
    holder[path[-1]] = forged
    done = verifier(chained_anew(events), tmp_path)
    assert done.returncode == 1
    assert f"(seq {event['seq']})" in done.stderr
    assert "chain" not in done.stderr


def chained_anew(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the ids and hashes that a forger would give them."""
    previous = "0" * 64
    for event in sorted(events, key=lambda event: int(event["seq"])):
        body = {name: value for name, value in event["data"].items() if name != "charge_id"}
        event["id"] = event["data"]["charge_id"] = sha256(canonical(body).encode()).hexdigest()[:40]
        event["prevhash"] = previous
        event["hash"] = previous = sha256((previous + canonical(event["data"])).encode()).hexdigest()
    return events


def test_another_payer_in_one_charge_breaks_its_id(month: Month, tmp_path: Path) -> None:
    events = json.loads(json.dumps(month.charges))
    events[7]["data"]["payer"]["id"] = "somebody"
    assert "charge_id" in verifier(events, tmp_path).stderr


def test_a_missing_charge_is_a_gap(month: Month, tmp_path: Path) -> None:
    assert "a gap after 7" in verifier(month.charges[:7] + month.charges[8:], tmp_path).stderr


def test_a_charge_of_a_common_register_is_explained(month: Month) -> None:
    shared = next(event["data"] for event in month.charges if event["data"]["allocation"])
    command = [sys.executable, "-m", "gateway.cli", "--config", "build/demo/gateway.toml", "explain"]
    asked = [*command, shared["charge_id"][:12]]
    said = subprocess.run(asked, cwd=month.folder, capture_output=True, text=True, check=True).stdout
    rule = shared["allocation"]
    assert f"x {rule['numerator']} / {rule['denominator']} = " in said
    assert f"{shared['quantity']} kWh x {shared['unit_price']} CHF" in said
    unknown = subprocess.run([*command, "ffff"], cwd=month.folder, capture_output=True, text=True, check=False)
    assert (unknown.returncode, unknown.stderr.count("\n")) == (3, 1)


def verifier(events: list[dict[str, Any]], folder: Path) -> subprocess.CompletedProcess[str]:
    """The verifier as a process of its own, on a file of events."""
    file = folder / "events.jsonl"
    file.write_text("\n".join(json.dumps(event) for event in events))
    return subprocess.run([sys.executable, VERIFIER, file], capture_output=True, text=True, check=False)


def test_a_price_changed_in_property_alone_is_named(house: Path, tmp_path: Path) -> None:
    (house / "property.toml").write_text(PROPERTY.replace("0.2500", "0.2600"))
    done = run(tmp_path, DEMO_SECONDS="500", BUILDING=str(house))
    assert done.returncode == 1
    assert "All agrees" not in done.stdout
    for who in ("ann", "bob"):
        line = next(line for line in done.stdout.splitlines() if line.startswith(f"{who}: expected"))
        assert "CHF (power-import: expected" in line


def test_a_move_told_a_day_too_early_is_named_with_both_quantities(house: Path, tmp_path: Path) -> None:
    told = PROPERTY.replace("exit = 2026-10-10", "exit = 2026-10-09").replace(
        "entry = 2026-10-11", "entry = 2026-10-10"
    )
    (house / "property.toml").write_text(told)
    done = run(tmp_path, DEMO_SECONDS="500", BUILDING=str(house))
    assert done.returncode == 1
    for who in ("ann", "bob"):
        line = next(line for line in done.stdout.splitlines() if line.startswith(f"{who}, power-import: expected"))
        assert line.endswith(" kWh")


def test_another_broker_can_be_named(house: Path, tmp_path: Path, broker: Broker) -> None:
    done = run(tmp_path, DEMO_SECONDS="500", BUILDING=str(house), BROKER=f"{broker.host}:{broker.port}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"your broker at {broker.host}:{broker.port}" in done.stdout


def test_a_month_that_does_not_close_in_time_fails(house: Path, tmp_path: Path) -> None:
    devices = DEVICES.replace("month = 2026-10-01", "month = 2036-10-01")
    (house / "devices.toml").write_text(devices)
    done = run(tmp_path, DEMO_SECONDS="1", BUILDING=str(house))
    assert done.returncode == 1
    assert "The month has not been closed" in done.stdout
    assert left_over(tmp_path) == {}


def test_ctrl_c_ends_it_cleanly(house: Path, tmp_path: Path) -> None:
    with begin(tmp_path, BUILDING=str(house)) as process:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 0
    assert errors == ""
    assert left_over(tmp_path) == {}


@pytest.mark.parametrize(("child", "called"), [("gateway.cli", "daemon"), ("simulators.subscriber", "subscriber")])
def test_a_child_that_dies_is_named_and_the_others_are_ended(
    house: Path, tmp_path: Path, child: str, called: str
) -> None:
    with begin(tmp_path, BUILDING=str(house)) as process:
        number = next(number for number, command in left_over(tmp_path).items() if child in command)
        os.kill(number, signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == 1
    assert f"The {called} ended with exit code -9" in errors
    assert left_over(tmp_path) == {}


def test_a_second_demo_in_the_same_folder_is_refused(house: Path, tmp_path: Path) -> None:
    with begin(tmp_path, BUILDING=str(house)) as process:
        second = run(tmp_path, BUILDING=str(house))
        process.terminate()
        process.communicate()
    assert second.returncode == 3
    assert second.stderr.startswith("Another demo is running in build/demo")


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        ({"DEMO_SECONDS": "soon"}, 3, "DEMO_SECONDS=soon is no time"),
        ({"BROKER": "localhost:mqtt"}, 3, "BROKER=localhost:mqtt is no address"),
        ({"BROKER": "127.0.0.1:1"}, 4, "No broker answers at 127.0.0.1:1"),
        ({"BUILDING": "nowhere"}, 3, "nowhere/devices.toml cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(tmp_path: Path, asked: dict[str, str], code: int, said: str) -> None:
    done = run(tmp_path, **asked)
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_a_mistake_in_property_toml_is_shown_with_its_line(house: Path, tmp_path: Path) -> None:
    (house / "property.toml").write_text(PROPERTY.replace('price = "0.2500"', "price = 0.25"))
    done = run(tmp_path, DEMO_SECONDS="500", BUILDING=str(house))
    assert done.returncode == 1
    assert "The import ended with exit code 3" in done.stderr
    assert "property.toml:" in done.stderr
    assert "Traceback" not in done.stderr
