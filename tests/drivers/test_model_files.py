from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from drivers.mbus.model import FAMILIES, MODELS, MBusModel
from drivers.model import ModelFileError, ModelFiles, RegisterKeys

OURS = Path(__file__).parents[2] / "drivers" / "mbus" / "models"


@pytest.fixture
def files(tmp_path: Path) -> ModelFiles[MBusModel]:
    """One that fits, and one that does not."""
    shutil.copy(OURS / "itron-cf-55.toml", tmp_path)
    (tmp_path / "broken.toml").write_text("make = 5")
    return ModelFiles(tmp_path, MBusModel)


def test_a_model_that_no_meter_names_is_not_read(files: ModelFiles[MBusModel]) -> None:
    assert list(files) == ["broken", "itron-cf-55"]
    assert "broken" in files
    assert "strange" not in files
    assert RegisterKeys(files)["itron-cf-55"] == ("heat", "volume")
    with pytest.raises(ModelFileError):
        files["broken"]


def test_a_model_is_read_once(files: ModelFiles[MBusModel]) -> None:
    assert files["itron-cf-55"] is files["itron-cf-55"]


def test_the_first_mapping_that_has_a_name_says_the_keys() -> None:
    both = {"one": MODELS["itron-cf-55"], "two": MODELS["itron-bm-plus-m"]}
    keys = RegisterKeys({"one": both["two"]}, both)
    assert dict(keys) == {"one": both["two"].keys, "two": both["two"].keys}
    assert len(keys) == len(both)
    assert "three" not in keys


def test_what_has_no_registers_can_be_named_and_not_be_wired() -> None:
    unbilled = [name for name, model in FAMILIES.items() if not model.registers]
    assert unbilled
    assert not set(unbilled) & set(MODELS)
    assert all(name not in MODELS for name in unbilled)
    assert len(MODELS) == len(FAMILIES) - len(unbilled)
