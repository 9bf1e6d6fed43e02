"""What was taken out of the image to make it small is not missed."""

from __future__ import annotations

import json
import subprocess

import pytest
from tests.image.conftest import Inside

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]  # the first build compiles ffmpeg

SOURCE = (
    "ffmpeg -v error -f lavfi -i testsrc2=size=640x360:rate=30:duration=2 -f lavfi -i sine=duration=2 "
    "-c:v libx264 -pix_fmt yuv420p -c:a aac /tmp/source.mp4"
)
# Two clips of the source, put on one canvas, faded into each other, under a PNG; then as a file that streams.
REEL = """
ffmpeg -v error -i /tmp/source.mp4 -ss 0 -t 1 -vf scale=320:180 -r 30 -c:v libx264 -c:a aac /tmp/a.mp4
ffmpeg -v error -i /tmp/source.mp4 -ss 1 -t 1 -vf crop=200:200 -r 30 -c:v libx264 -c:a aac /tmp/b.mp4
python -c "from PIL import Image, ImageDraw, ImageFont
image = Image.new('RGBA', (320, 180)); ImageDraw.Draw(image).text((9, 9), 'Reel', font=ImageFont.load_default(24))
image.save('/tmp/text.png')"
ffmpeg -v error -i /tmp/a.mp4 -i /tmp/b.mp4 -i /tmp/text.png -filter_complex "
[0:v]scale=320:180,setsar=1,fps=30,format=yuv420p[a];
[1:v]scale=320:180:force_original_aspect_ratio=decrease,pad=320:180:(ow-iw)/2:(oh-ih)/2,setsar=1,fps=30,format=yuv420p[b];
[a][b]xfade=transition=fade:duration=0.5:offset=0.5[v];[v][2:v]overlay[out];[0:a][1:a]acrossfade=d=0.5[sound]
" -map "[out]" -map "[sound]" -c:v libx264 -c:a aac -movflags +faststart -progress pipe:1 -nostats /tmp/reel.mp4
"""
PROBE = "ffprobe -v error -print_format json -show_format -show_streams"


def test_a_clip_is_cut_and_a_reel_is_made_and_probed(inside: Inside) -> None:
    output = inside("sh", "-euc", f"{SOURCE}\n{REEL}\n{PROBE} /tmp/reel.mp4")
    progress, _, probed = output.partition("progress=end")
    found = json.loads(probed)
    streams = {stream["codec_type"]: stream for stream in found["streams"]}
    assert (streams["video"]["codec_name"], streams["audio"]["codec_name"]) == ("h264", "aac")
    assert (streams["video"]["width"], streams["video"]["height"]) == (320, 180)
    assert float(found["format"]["duration"]) == pytest.approx(1.5, abs=0.1)
    assert "out_time_us=" in progress


def test_clips_are_joined_without_encoding_them_again(inside: Inside) -> None:
    output = inside(
        "sh", "-euc",
        f"{SOURCE}\nprintf \"file '/tmp/source.mp4'\\nfile '/tmp/source.mp4'\\n\" > /tmp/list\n"
        f"ffmpeg -v error -f concat -safe 0 -i /tmp/list -c copy /tmp/joined.mp4\n{PROBE} /tmp/joined.mp4",
    )  # fmt: skip
    assert float(json.loads(output)["format"]["duration"]) == pytest.approx(4, abs=0.2)


def test_frames_come_out_of_a_pipe(inside: Inside) -> None:
    script = f"{SOURCE}\nffmpeg -v error -i /tmp/source.mp4 -frames:v 2 -f rawvideo -pix_fmt rgb24 pipe:1 | wc -c"
    assert int(inside("sh", "-euc", script)) == 2 * 640 * 360 * 3


def test_a_text_file_is_no_video(inside: Inside) -> None:
    script = "echo hello > /tmp/a.mp4; if ffprobe -v error /tmp/a.mp4 2>/dev/null; then exit 1; fi"
    inside("sh", "-euc", script)


def test_the_s3_client_signs_every_kind_of_url(inside: Inside) -> None:
    script = """
import boto3
from botocore.config import Config
config = Config(signature_version="s3v4", request_checksum_calculation="when_required",
                response_checksum_validation="when_required", retries={"mode": "standard"})
client = boto3.client("s3", region_name="auto", endpoint_url="https://r2.example", aws_access_key_id="a",
                      aws_secret_access_key="b", config=config)
for name, extra in (("get_object", {}), ("put_object", {"ContentType": "video/mp4"}),
                    ("upload_part", {"UploadId": "u", "PartNumber": 1})):
    print(client.generate_presigned_url(name, Params={"Bucket": "b", "Key": "k", **extra}))
print(client.can_paginate("list_objects_v2"), client.waiter_names)
boto3.client("sts", region_name="auto", aws_access_key_id="a", aws_secret_access_key="b")
"""
    lines = inside("python", "-", script=script).splitlines()
    assert all("X-Amz-Algorithm=AWS4-HMAC-SHA256" in line for line in lines[:3])
    assert lines[3] == "True ['bucket_exists', 'bucket_not_exists', 'object_exists', 'object_not_exists']"


def test_a_machine_of_512_mb_answers_its_health_check(image: str) -> None:
    run = ["docker", "run", "--detach", "--memory", "512m", "--cpus", "1", "--network", "none"]
    environment = {"ENV": "staging", "APP_ENV": "staging", "R2_ENABLED": "false", "MODAL_ENABLED": "false"}
    variables = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
    machine = subprocess.run([*run, *variables, image], capture_output=True, text=True, check=True).stdout.strip()
    poll = """
import time, urllib.request
deadline = time.monotonic() + 300
while True:
    try:
        print(urllib.request.urlopen("http://127.0.0.1:8080/api/health", timeout=60).status)
        break
    except OSError:  # refused, reset, or no answer in time
        if time.monotonic() > deadline:
            raise
        time.sleep(0.1)
"""
    try:
        asked = subprocess.run(["docker", "exec", machine, "python", "-c", poll], capture_output=True, text=True)
        logs = subprocess.run(["docker", "logs", machine], capture_output=True, text=True, check=True)
        assert asked.stdout == "200\n", logs.stdout + logs.stderr + asked.stderr
    finally:
        subprocess.run(["docker", "rm", "--force", machine], capture_output=True, check=True)
