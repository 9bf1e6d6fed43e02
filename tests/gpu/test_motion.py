"""The detector on frames that are drawn here."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw

from video_jobs.motion import HEIGHT, WIDTH, moving_boxes, sample_times


def frame(*figures: tuple[int, int, int, int]) -> bytes:
    picture = Image.new("L", (WIDTH, HEIGHT), 40)
    for left, top, width, height in figures:
        ImageDraw.Draw(picture).rectangle((left, top, left + width - 1, top + height - 1), fill=220)
    return picture.tobytes()


def test_what_stands_still_is_not_found() -> None:
    assert moving_boxes(frame((30, 30, 6, 16)), frame((30, 30, 6, 16))) == ()


def test_two_that_move_apart_are_two_boxes() -> None:
    boxes = moving_boxes(frame((20, 30, 6, 16), (100, 50, 6, 16)), frame((23, 30, 6, 16), (97, 50, 6, 16)))
    assert sorted(round(box.x * WIDTH) for box in boxes) == [20, 97]
    assert {round(box.height * HEIGHT) for box in boxes} == {16}


def test_noise_and_a_moving_camera_are_not_players() -> None:
    assert moving_boxes(frame((30, 30, 2, 2)), frame((90, 30, 2, 2))) == ()
    assert moving_boxes(frame(), frame((0, 0, WIDTH, HEIGHT))) == ()


def test_a_region_at_the_edge_does_not_wrap_to_the_next_row() -> None:
    (box,) = moving_boxes(frame(), frame((WIDTH - 6, 30, 6, 16)))
    assert (round(box.x * WIDTH), round(box.width * WIDTH)) == (WIDTH - 6, 6)


def test_a_frame_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="14400"):
        moving_boxes(b"short", frame())


def test_samples_lie_evenly_within_the_span() -> None:
    assert sample_times(10, 20, 4) == [11.25, 13.75, 16.25, 18.75]
