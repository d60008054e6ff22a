"""What a gateway is told of a laundry: its machine's meter, what a wash costs, and the badges."""

from __future__ import annotations

WASHING = """\
[[point]]
id = "laundry"
building = "a"
name = "Laundry"
kind = "laundry"
[[meter]]
id = "power"
facility = "house"
name = "Electricity of the washing machine"
[[register]]
id = "power-import"
meter = "power"
key = "import"
energy_source = "electricity"
unit = "kWh"
resolution = "0.01"
max_per_day = "100"
[[link]]
id = "power-laundry"
register = "power-import"
point = "laundry"
[[rate]]
id = "wash"
facility = "house"
energy_source = "electricity"
title = "Wash"
component = "cycle"
unit = "cycle"
points = ["laundry"]
prices = [{ price = "1.20" }]
tax = { category = "S", rate = "8.1", included = true }
[[rate]]
id = "wash-power"
facility = "house"
energy_source = "electricity"
title = "Electricity of the washing machine"
component = "energy"
unit = "kWh"
points = ["laundry"]
prices = [{ price = "0.28" }]
tax = { category = "S", rate = "8.1", included = true }
"""
"""of the facility `house` and its building `a`"""


def badge(name: str, user: str, point: str, identifier: str) -> str:
    """A badge of the washing machine."""
    return f"""\
[[badge]]
id = "{name}"
user = "{user}"
point = "{point}"
identifier = "{identifier}"
access_points = ["washer"]
"""
