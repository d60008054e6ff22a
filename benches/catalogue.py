"""Which figures there are: a new one is a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benches import (
    mbus_decode,
    mbus_noise,
    mbus_round,
    mbus_search,
    memory,
    modbus_dead,
    modbus_load,
    modbus_probes,
    modbus_round,
    outbox,
    ready,
    settling,
    tap,
    wear,
)

if TYPE_CHECKING:
    from benches.figure import Bench

BENCHES: dict[str, Bench] = {
    "ready_s": ready.measure,
    "rss_mb": memory.measure,
    "written_bytes_per_reading": wear.measure,
    "outbox_per_s": outbox.measure,
    "settle_vs_read": settling.measure,
    "tap_feedback_p95_ms": tap.measure,
    "mbus_round_2400": mbus_round.slow,
    "mbus_round_9600": mbus_round.fast,
    "mbus_search_2400": mbus_search.measure,
    "mbus_noise_wrong_values": mbus_noise.measure,
    "mbus_decode_vs_pymeterbus": mbus_decode.measure,
    "mbus_mutant_max_ms": mbus_decode.measure_mutants,
    "modbus_wrong_values": modbus_probes.measure,
    "modbus_round_9600": modbus_round.measure,
    "modbus_dead_unit": modbus_dead.measure,
    "modbus_cpu_ms_per_1000": modbus_load.measure,
    "modbus_rss_mb": modbus_load.measure_memory,
    "modbus_first_value_s": modbus_load.measure_first,
    "modbus_bytes_per_reading": modbus_load.measure_bytes,
    "modbus_drift_ms": modbus_load.measure_drift,
    "modbus_idle_percent": modbus_load.measure_idle,
}
