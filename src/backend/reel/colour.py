"""Converts HDR and wide-gamut pictures to SDR BT.709, with a 3D lookup table for ffmpeg's `lut3d` filter.

ffmpeg's own tone mapping was rejected: it needs libzimg (1.5 MB more in the image) and works on 32-bit floats at full
size. The table of 33³ points is applied after the picture was scaled down.

HLG and PQ follow ITU-R BT.2100-2 (tables 4 and 5); the primaries ITU-R BT.2087-0; 203 cd/m² is the reference white of
HDR (ITU-R BT.2408-7), shown here as SDR white less a little headroom; the display is ITU-R BT.1886 (gamma 2.4).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final, Literal

POINTS: Final = 33
Source = Literal["hlg", "pq", "bt2020"]

_REFERENCE_WHITE: Final = 203.0
_PEAK: Final = 1000.0
# Below the knee nothing changes; above it, light up to the peak is compressed into what is left.
_KNEE: Final = 0.75
_TO_709: Final = (
    (1.6605, -0.5876, -0.0728),
    (-0.1246, 1.1329, -0.0083),
    (-0.0182, -0.1006, 1.1187),
)


def write_table(source: Source, path: Path) -> Path:
    """Write the table in the .cube format; red varies fastest."""
    light = {"hlg": _hlg_scene, "pq": _pq_light, "bt2020": _sdr_light}[source]
    axis = [light(step / (POINTS - 1)) for step in range(POINTS)]
    lines = [f"LUT_3D_SIZE {POINTS}"]
    for blue in axis:
        for green in axis:
            for red in axis:
                shown = to_sdr(source, red, green, blue)
                lines.append(f"{shown[0]:.5f} {shown[1]:.5f} {shown[2]:.5f}")
    path.write_text("\n".join(lines) + "\n")
    return path


def to_sdr(source: Source, red: float, green: float, blue: float) -> tuple[float, float, float]:
    """Linear BT.2020 light (scene light for HLG, else 1.0 = reference white) as a BT.709 signal, each 0 to 1."""
    if source == "hlg":
        luminance = 0.2627 * red + 0.6780 * green + 0.0593 * blue
        gain = _PEAK / _REFERENCE_WHITE * luminance**0.2 if luminance > 0 else 0.0
        red, green, blue = red * gain, green * gain, blue * gain
    mixed = [max(0.0, row[0] * red + row[1] * green + row[2] * blue) for row in _TO_709]
    brightest = max(mixed)
    scale = _compress(brightest) / brightest if source != "bt2020" and brightest > _KNEE else 1.0
    first, second, third = ((min(1.0, value * scale)) ** (1 / 2.4) for value in mixed)
    return first, second, third


def _compress(value: float) -> float:
    """A curve of slope 1 at the knee that reaches 1.0 at the peak (extended Reinhard on the part above the knee)."""
    room, reach = 1 - _KNEE, _PEAK / _REFERENCE_WHITE - _KNEE
    over = (value - _KNEE) / room
    white = reach / room
    return _KNEE + room * min(1.0, over * (1 + over / white**2) / (1 + over))


def _hlg_scene(signal: float) -> float:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return signal**2 / 3 if signal <= 0.5 else (math.exp((signal - c) / a) + b) / 12


def _pq_light(signal: float) -> float:
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = signal ** (1 / m2)
    return float(10_000 * (max(0.0, power - c1) / (c2 - c3 * power)) ** (1 / m1)) / _REFERENCE_WHITE


def _sdr_light(signal: float) -> float:
    return float(signal**2.4)
