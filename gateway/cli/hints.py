"""What the keys of the property data mean, where their names, examples and words do not say it."""

from __future__ import annotations

MEANINGS = {
    "access_points": "Where it opens, by the name in the settings; can be given several times.",
    "backflow": "How much it may run backwards without anything being wrong, in its unit.",
    "company": "Of a legal person.",
    "exchanges": "JSON; `submeter exchange` writes it.",
    "first_name": "Of a natural person.",
    "from": "The first day.",
    "identifier": "Its 4, 7 or 10 bytes in hex digits.",
    "language": "Such as de or fr-CH.",
    "last_name": "Of a natural person.",
    "modulus": "The index at which it begins again at 0, where its model does not say it.",
    "money_quantum": "What amounts are rounded to, such as 0.01.",
    "people": "How many live or work there.",
    "points": "Only for this point; can be given several times. Without: for all of the facility.",
    "prices": "JSON; --price and --from write it.",
    "quotity": "Its share by the deed, such as 120 of 1000.",
    "registration": "Number of a legal person.",
    "serial": "Number that is printed on it: readings that say another one are held.",
    "surface": "In m2.",
    "tax.exemption": "Why there is no tax.",
    "tax.included": "true: the price holds the tax; false: it comes on top.",
    "value": "What counts here in place of the point's own value of the key.",
    "volume": "In m3.",
}
