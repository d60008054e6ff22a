"""A building of one flat with one meter and a move, as the demo takes it."""

from __future__ import annotations

DEVICES = """
name = "Small house"
time_zone = "Europe/Zurich"
month = 2026-10-01
seed = 1
quantum = "0.001"
currency = "CHF"
owner = "landlord"
[building]
[[place]]
id = "flat"
stays = [{ who = "ann", from = 2020-01-01, until = 2026-10-11 }, { who = "bob", from = 2026-10-11 }]
[[price]]
source = "electricity"
from = 2026-01-01
price = "0.2500"
[[profile]]
id = "all-day"
weekday = [90, 70, 310, 190, 260, 240, 620, 330]
weekend = [110, 80, 220, 390, 420, 350, 580, 360]
spread = 35
[[line]]
id = "line"
protocol = "mbus"
[[meter]]
id = "power"
line = "line"
model = "emu-professional-375"
address = 1
serial = "00032621"
[[meter.counters]]
register = "power-import"
key = "import"
source = "electricity"
start = "10234.500"
profile = "all-day"
place = "flat"
"""


PROPERTY = """
[[facility]]
id = "house"
name = "House"
time_zone = "Europe/Zurich"
currency = "CHF"
[[building]]
id = "house"
facility = "house"
name = "House"
[[point]]
id = "flat"
building = "house"
name = "Flat"
kind = "apartment"
[[user]]
id = "ann"
kind = "natural"
first_name = "Ann"
last_name = "A"
address = "Street 1"
[[user]]
id = "bob"
kind = "natural"
first_name = "Bob"
last_name = "B"
address = "Street 1"
[[user]]
id = "landlord"
kind = "legal"
company = "Landlord Ltd"
registration = "1"
address = "Street 2"
[[owner]]
id = "owner"
user = "landlord"
facility = "house"
[[occupancy]]
id = "ann-flat"
point = "flat"
user = "ann"
entry = 2020-01-01
exit = 2026-10-10
[[occupancy]]
id = "bob-flat"
point = "flat"
user = "bob"
entry = 2026-10-11
[[rate]]
id = "electricity"
facility = "house"
energy_source = "electricity"
title = "Electricity"
component = "energy"
unit = "kWh"
prices = [{ from = 2026-01-01, price = "0.2500" }]
tax = { category = "S", rate = "8.1", included = true }
[[meter]]
id = "power"
facility = "house"
name = "Electricity"
[[register]]
id = "power-import"
meter = "power"
key = "import"
energy_source = "electricity"
unit = "kWh"
resolution = "0.001"
max_per_day = "100"
[[link]]
id = "link"
register = "power-import"
point = "flat"
"""
