"""Which figures there are: a new one is a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benches import mbus_decode, mbus_noise, mbus_round, mbus_search, memory, outbox, ready, settling, tap, wear

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
}
