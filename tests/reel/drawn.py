"""Lines of text in many scripts, how the overlay draws them, and how far that is from another tool's drawing.

The other tool is Chromium, with the same fonts; its pictures lie in `drawn_by_chromium` (see `chromium`).
"""

from __future__ import annotations

from typing import Final

from PIL import Image

SIZE, ROW, WIDTH, LEFT, BASELINE = 48, 140, 900, 20, 90
LINES: Final = {
    "latin": "Müller Łódź İstanbul",
    "greek": "Ολυμπιακός",
    "cyrillic": "Спартак Київ",
    "arabic": "مرحبا بالعالم",
    "arabic-mixed": "Final: مباراة 3-2 مدريد!",
    "arabic-brackets": "مباراة (نهائي) 2024",
    "arabic-marks": "أين المباراة؟ مـبـروك، نعم",
    "persian": "سلام دنیا ۱۲۳",
    "hebrew": "שלום עולם",
    "hebrew-mixed": "הגמר: Real 3:1 (2024)",
    "override": "abc \u202eevil.exe (1)\u202c def",
    "override-hebrew": "\u202dשלום\u202c abc",
    "hindi": "नमस्ते दुनिया क्षत्रिय",
    "bengali": "বাংলা বিজয়",
    "tamil": "தமிழ் வணக்கம்",
    "telugu": "తెలుగు విజేత",
    "malayalam": "മലയാളം",
    "sinhala": "ශ්‍රීලංකා",
    "thai": "สวัสดีชาวโลก ที่นี่",
    "khmer": "ខ្មែរ ភាសា",
    "burmese": "မြန်မာဘာသာ",
    "tibetan": "བོད་ཡིག",
    "amharic": "አማርኛ",
    "georgian": "ქართული Հայերեն",
    "chinese": "决赛冠军",
    "japanese": "決勝 こんにちは",
    "japanese-marks": "「決勝、東京。」ガッツ・ポーズ",
    "korean": "결승전 한국어",
    "signs": "Tor ❤︎ 1:0",
    "emoji": "⚽🏆👍🏽🇩🇪",
    "emoji-new": "🩷🩵🩶🫨🐦‍🔥",
    "emoji-joined": "👨‍👩‍👧‍👦👩🏾‍⚖️🏴‍☠️🏴󠁧󠁢󠁥󠁮󠁧󠁿1️⃣",
}


LIMIT: Final = 0.25
"""A line drawn otherwise (unshaped, in the other direction, with boxes) differs more, the same line less."""


def ours(line: str) -> Image.Image:
    """The line as the overlay draws it."""
    from reel import bidi, typeset

    picture = Image.new("RGBA", (WIDTH, ROW), (0, 0, 0, 255))
    typeset.draw(picture, LEFT, BASELINE, line, bidi.base_direction(line), SIZE)
    return picture.convert("L")


def difference(one: Image.Image, other: Image.Image) -> float:
    """0 for pictures whose ink is the same, 1 for those that share none; where the ink begins does not matter, and
    neither do edges."""
    boxes = [picture.point(lambda level: 255 * (level > 60)).getbbox() for picture in (one, other)]
    if None in boxes:
        return 1.0
    small = [
        picture.crop(box).resize((picture.crop(box).width // 3, 24), Image.Resampling.BOX)
        for picture, box in zip((one, other), boxes, strict=True)
    ]
    if abs(small[0].width - small[1].width) > 4:
        return 1.0
    first, second = (list(picture.resize((small[0].width, 24)).tobytes()) for picture in small)
    return sum(abs(a - b) for a, b in zip(first, second, strict=True)) / (sum(first) + sum(second))
