"""Words of the simulated item texts and reviews."""

from __future__ import annotations

from dataclasses import dataclass

_DEPARTMENTS = """
Kitchen: cooking at home
saucepan, chef's knife, mixing bowl, cutting board, kettle, baking tin
cast-iron, non-stick, dishwasher-safe, copper, bamboo, induction-ready, enamelled, stackable

Camping: nights outdoors
tent, sleeping bag, camp stove, headlamp, backpack, hammock
ultralight, waterproof, four-season, solar-powered, insulated, family-size, foldable, windproof

Board Games: an evening at the table
card game, strategy game, party game, dice game, puzzle, role-playing set
cooperative, competitive, historical, space-themed, quick-to-learn, solo-friendly, bluffing, medieval

Music: making music
guitar, keyboard, drum pad, microphone, ukulele, amplifier
acoustic, electric, beginner, studio-grade, wireless, left-handed, vintage-sounding, portable

Garden: growing plants
pruning shears, watering can, planter, seed kit, trowel, garden hose
organic, self-watering, rust-proof, balcony-sized, ergonomic, drip-feeding, raised, frost-hardy

Fitness: training the body
yoga mat, dumbbell, resistance band, jump rope, kettlebell, foam roller
extra-thick, adjustable, heavy-duty, travel-sized, non-slip, vinyl-coated, competition-grade, silent

Craft: making things by hand
knitting kit, watercolour set, sewing machine, embroidery hoop, clay, calligraphy pen
hand-dyed, washable, archival, wool, metallic, child-safe, pastel, refillable

Pets: animals at home
dog leash, cat tree, aquarium filter, bird feeder, chew toy, pet bed
orthopaedic, reflective, grain-free, squeaky, washable-cover, retractable, whisper-quiet, scratch-resistant

Photography: taking pictures
tripod, camera bag, lens filter, flash, memory card, light box
carbon-fibre, polarising, high-speed, weather-sealed, compact, macro, full-frame, warm-toned

Books: reading
novel, cookbook, travel guide, biography, comic, textbook
illustrated, award-winning, humorous, Nordic, philosophical, suspenseful, romantic, scientific
"""
"""Name and purpose, kinds of items, and features of each department."""


@dataclass(frozen=True)
class Department:
    """A department of the simulated catalogue; users have preferences over its eight features."""

    name: str
    purpose: str
    kinds: tuple[str, ...]
    features: tuple[str, ...]


def _parse(block: str) -> Department:
    heading, kinds, features = block.split("\n")
    name, purpose = heading.split(": ")
    return Department(name, purpose, tuple(kinds.split(", ")), tuple(features.split(", ")))


DEPARTMENTS = tuple(_parse(block) for block in _DEPARTMENTS.strip().split("\n\n"))

MAKERS = ("Alder", "Brightwell", "Corvane", "Dunmore", "Eastfold", "Farrow", "Greyling", "Hollin", "Ivara", "Juniper")
OPENERS = (
    "I bought this because it is",
    "What convinced me is that it is really",
    "Exactly what I was after, nicely",
    "Does what it says and is properly",
    "My third one, always",
)
CLOSINGS = ("Would buy again.", "Arrived on time.", "A present for myself.", "No complaints.", "Worth the price.")
