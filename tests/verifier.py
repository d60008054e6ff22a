"""Recomputes published charges from nothing but their messages: `python tests/verifier.py FILE`, an event a line.

It imports nothing of the gateway; whoever doubts a charge can read it in five minutes.
"""

import hashlib
import json
import sys
from fractions import Fraction as F  # noqa: N817 - a number in nearly every line
from pathlib import Path
from typing import Any


def canonical(value: Any) -> str:  # noqa: ANN401 - JSON of any form
    """RFC 8785 for text, whole numbers, booleans, null, lists and objects."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(canonical(name) + ":" + canonical(value[name]) for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(canonical(item) for item in value) + "]"
    assert not isinstance(value, float), f"a float in a charge: {value}"
    return json.dumps(value, ensure_ascii=False)


def half_up(value: F) -> int:
    whole = (abs(value) + F(1, 2)).__floor__()
    return whole if value >= 0 else -whole


def counted(segment: dict[str, Any]) -> F:
    """What one meter counted between two indexes, with at most one rollover."""
    flow = F(segment["until"]["value"]) - F(segment["from"]["value"])
    flow += F(segment["modulus"]) if flow < 0 and segment["modulus"] else 0
    return flow * F(segment["factor"]) * int(segment["sign"])


def largest_remainder(total: F, shares: list[F]) -> list[int]:
    """Floors, then the spare quanta by larger fraction, ties to the earlier; nothing for a share of 0."""
    exact = [share * total for share in shares]
    parts = [part.__floor__() for part in exact]
    order = sorted((parts[i] - exact[i], i) for i in range(len(shares)) if shares[i])
    for _, i in order[: int(total - sum(parts))]:
        parts[i] += 1
    return parts


def check(charge: dict[str, Any], known: dict[str, dict[str, Any]]) -> None:
    """Assert every number of one charge; `known` holds the charges before it."""
    body = {name: value for name, value in charge.items() if name != "charge_id"}
    assert charge["charge_id"] == hashlib.sha256(canonical(body).encode()).hexdigest()[:40], "charge_id"
    quantity, amount = F(charge["quantity"]), F(charge["amount"])
    if charge["kind"] == "reversal":
        original = known[charge["replaces"]]
        assert (quantity, amount) == (-F(original["quantity"]), -F(original["amount"])), "reversal + original = 0"
        quantity, amount = -quantity, -amount
    own = sum(counted(segment) for segment in charge["evidence"]["segments"])
    rule = charge["allocation"]
    session = charge["session"]
    if session is not None:
        assert (charge["period"]["from"], charge["period"]["until"]) == (session["start"], session["end"]), "session"
    if session is not None and charge["component"] == "cycle":
        assert charge["unit"] == "cycle", "one cycle"
        assert quantity == 1, "one cycle"
        assert own == 0, "one cycle"
    elif rule is None:
        assert quantity == own, "quantity = what was counted"
    else:
        shares, total, quantum = [F(part) for part in rule["fractions"]], F(rule["total"]), F(rule["quantum"])
        coefficient = F(rule["numerator"]) / F(rule["denominator"]) if F(rule["denominator"]) else F(1)
        assert sum(shares) == 1, "the shares and the remainder make the whole"
        assert not total or shares[rule["position"]] * total == coefficient * own, "share = coefficient x counted"
        assert quantity == largest_remainder(total / quantum, shares)[rule["position"]] * quantum, "spare quanta"
    quantum = F(charge["rounding"]["quantum"])
    assert amount == half_up(quantity * F(charge["unit_price"]) / quantum) * quantum, "amount = quantity x price"


def verify(events: list[dict[str, Any]]) -> int:
    """Check all events of one stream; how many charges hold. AssertionError names the first that does not."""
    known: dict[str, dict[str, Any]] = {}
    prevhash, seq = "0" * 64, 0
    for event in sorted(events, key=lambda event: int(event["seq"])):
        charge, place = event["data"], f"charge {event['id']} (seq {event['seq']})"
        assert int(event["seq"]) == seq + 1, f"{place}: a gap after {seq}"
        try:
            check(charge, known)
            digest = hashlib.sha256((prevhash + canonical(charge)).encode()).hexdigest()
            assert (event["id"], event["prevhash"], event["hash"]) == (charge["charge_id"], prevhash, digest), "chain"
        except (AssertionError, KeyError, ValueError) as error:
            raise AssertionError(place, *error.args) from error
        known[charge["charge_id"]], prevhash, seq = charge, digest, seq + 1
    return len(known)


if __name__ == "__main__":
    if len(sys.argv) == 1 or not Path(sys.argv[1]).is_file():
        sys.exit(
            "python tests/verifier.py FILE: a file with one CloudEvent of a charge a line, as build/demo/charges.jsonl"
        )
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    sys.stdout.write(f"{verify([json.loads(line) for line in lines if line])} charges verified\n")
