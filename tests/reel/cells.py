"""The kinds of video in the matrix, as one table."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from tests.reel.matrix import SDR, TO_709, X264, Cell
from tests.reel.written import avi_of_type_1, with_dolby_vision, with_fragments_from

X265: Final = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1", "-tag:v", "hvc1")
VP9: Final = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", *SDR)
OPUS: Final = ("-c:a", "libopus")
FRAGMENTED: Final = ("-movflags", "frag_keyframe+empty_moov+default_base_moof")


def _hdr(transfer: str, tag: str) -> dict[str, object]:
    to = f"zscale=pin=bt709:tin=bt709:min=gbr:rin=full:p=bt2020:t={transfer}:m=bt2020nc:r=limited:npl=203"
    tags = ("-color_primaries", "bt2020", "-color_trc", tag, "-colorspace", "bt2020nc", "-color_range", "tv")
    return {
        "video": (*X265, "-pix_fmt", "yuv420p10le", *tags),
        "filters": f"format=gbrp,{to},format=yuv420p10le",
        "colour_slack": 45,
    }


NTSC: Final = Fraction(30000, 1001)
LONG_GOP: Final = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "1000", "-sc_threshold", "0", *SDR)
X264_444: Final = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv444p", "-colorspace", "bt709")
X265_GOP: Final = ("-x265-params", "log-level=none:pools=1:open-gop=1:keyint=50:bframes=3")
B_PYRAMID: Final = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "4", "-b_strategy", "0", "-g", "100", *SDR)
AV1: Final = ("-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", *SDR)
VP8: Final = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", *SDR)
PCM: Final = ("-c:a", "pcm_s16le")
TEN: Final = f"asplit=10{''.join(f'[{n}]' for n in range(10))};{''.join(f'[{n}]' for n in range(10))}amerge=inputs=10"
AAC: Final = ("-c:a", "aac", "-ac", "2")
AAC_SIX: Final = ("-c:a", "aac", "-ac", "6")
AC3: Final = ("-c:a", "ac3", "-ac", "2")
AC3_SIX: Final = ("-c:a", "ac3", "-ac", "6")
AAC_44: Final = ("-c:a", "aac", "-ac", "2", "-ar", "44100")
MP2: Final = ("-c:a", "mp2", "-ac", "2")
MP2_MONO: Final = ("-c:a", "mp2", "-ac", "1")
FRAME_S: Final = 0.04
BEFORE_ZERO: Final = ("-output_ts_offset", "-1", "-avoid_negative_ts", "disabled")
TRUEHD_THEN_AC3: Final = (
    *("-map", "0", "-map", "1", "-map", "1"),
    *("-c:a:0", "truehd", "-strict", "-2", "-ac:a:0", "2", "-c:a:1", "ac3"),
)
DTS: Final = ("-c:a", "dca", "-strict", "-2")
AMR: Final = ("-c:a", "libopencore_amrnb", "-ac", "1", "-ar", "8000")
MP3: Final = ("-c:a", "libmp3lame")
TO_601_FULL: Final = "scale=out_color_matrix=bt601:out_range=pc"
SECOND_PICTURE: Final = ("-f", "lavfi", "-t", "6", "-i", "color=c=green:size=320x180:rate=25")
COVER: Final = ("-c:v:1", "mjpeg", "-disposition:v:1", "attached_pic")
ONE_PICTURE: Final = ("-f", "lavfi", "-t", "0.04", "-i", "color=c=green:size=320x180:rate=25")
TURNED: Final[dict[str, object]] = {"copies": (("-display_rotation", "90", "IN"),), "rotation": 90}
X265_PQ: Final = _hdr("smpte2084", "smpte2084")
DOLBY_VISION: Final[dict[str, object]] = {
    **_hdr("arib-std-b67", "arib-std-b67"),
    **TURNED,
    "shape": (180, 320),
    "rewritten": with_dolby_vision(8, 4),
}
DV: Final[dict[str, object]] = {
    "video": ("-c:v", "dvvideo", "-pix_fmt", "yuv420p"),
    "audio": ("-c:a", "pcm_s16le"),
    "filters": "scale=720:576:out_color_matrix=bt601:out_range=tv,setsar=16/15,setfield=bff",
    "shape": (768, 576),
}
DV_NTSC: Final[dict[str, object]] = {
    "video": ("-c:v", "dvvideo", "-pix_fmt", "yuv411p"),
    "audio": ("-c:a", "pcm_s16le"),
    "filters": "scale=720:480:out_color_matrix=bt601:out_range=tv,setsar=8/9,setfield=bff",
    "shape": (640, 480),
    "rate": NTSC,
}
FIELDS_TOP: Final[dict[str, object]] = {
    "video": (*X264, "-flags", "+ilme+ildct", "-x264-params", "tff=1", *SDR),
    "filters": f"select='gte(n,1)',setpts=PTS-STARTPTS,{TO_709},tinterlace=interleave_top,setpts=PTS-STARTPTS",
    "first": 1,
    "length_s": 3.0,
    "rate": Fraction(50),
    "fields": True,
}
FIELDS_BOTTOM: Final[dict[str, object]] = {
    **FIELDS_TOP,
    "video": (*X264, "-flags", "+ilme+ildct", "-x264-params", "bff=1", *SDR),
    "filters": f"select='gte(n,1)',setpts=PTS-STARTPTS,{TO_709},tinterlace=interleave_bottom,setpts=PTS-STARTPTS",
}
MPEG2_FIELDS: Final = ("-c:v", "mpeg2video", "-q:v", "3", "-flags", "+ilme+ildct", "-top", "1", *SDR)
MPEG4_FIELDS: Final = ("-c:v", "mpeg4", "-q:v", "2", "-flags", "+ilme+ildct", "-top", "1", *SDR)
PRORES_FIELDS: Final = ("-c:v", "prores_ks", "-pix_fmt", "yuv422p10le", "-flags", "+ildct", "-colorspace", "bt709")


CELLS: Final = (
    # Containers.
    Cell("mp4", "mp4"),
    Cell("mp4-faststart", "mp4", container=("-movflags", "+faststart")),
    Cell("mp4-fragmented", "mp4", container=FRAGMENTED, frame_slack=2),
    Cell("mp4-fragmented-mfra", "mp4", container=("-movflags", "frag_keyframe+empty_moov"), frame_slack=2),
    Cell("mp4-fragmented-sidx", "mp4", container=("-movflags", "+dash", "-f", "mp4"), frame_slack=2),
    Cell("mov-pcm-be", "mov", audio=("-c:a", "pcm_s16be")),
    Cell("mov-pcm-le24", "mov", audio=("-c:a", "pcm_s24le")),
    Cell("mov-alac", "mov", audio=("-c:a", "alac")),
    Cell("mkv", "mkv"),
    Cell("webm-vp9", "webm", video=VP9, audio=OPUS),
    Cell("webm-without-duration", "webm", video=VP9, audio=OPUS, container=("-live", "1", "-f", "webm")),
    Cell("mkv-without-duration", "mkv", container=("-live", "1")),
    Cell(
        "webm-vp8-vorbis",
        "webm",
        video=("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", *SDR),
        audio=("-c:a", "libvorbis"),
    ),
    Cell("ts", "ts"),
    Cell("ts-240", "ts", rate=Fraction(240), shown_rate=Fraction(60)),
    Cell("ts-late-clock", "ts", container=("-output_ts_offset", "95440")),
    Cell(
        "ts-long-gop", "ts", video=("-c:v", "libx264", "-preset", "ultrafast", "-g", "1000", "-sc_threshold", "0", *SDR)
    ),
    Cell(
        "ts-mpeg2",
        "ts",
        video=("-c:v", "mpeg2video", "-q:v", "3", "-bf", "2", *SDR),
        audio=("-c:a", "mp2"),
        frame_slack=1,
    ),
    Cell("m2ts-ac3", "m2ts", audio=("-c:a", "ac3"), container=("-mpegts_m2ts_mode", "1", "-f", "mpegts")),
    Cell(
        "avi-mpeg4-mp3",
        "avi",
        video=("-c:v", "mpeg4", "-q:v", "3", "-pix_fmt", "yuv420p"),
        audio=("-c:a", "libmp3lame"),
        filters="scale=out_color_matrix=bt601:out_range=tv",
    ),
    Cell(
        "avi-mjpeg-pcm",
        "avi",
        video=("-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p"),
        audio=("-c:a", "pcm_s16le"),
        filters="scale=out_color_matrix=bt601:out_range=pc",
    ),
    Cell("flv", "flv"),
    Cell(
        "3gp-mpeg4",
        "3gp",
        video=("-c:v", "mpeg4", "-q:v", "3", "-pix_fmt", "yuv420p"),
        filters="scale=out_color_matrix=bt601:out_range=tv",
    ),
    # Codecs.
    Cell("hevc", "mp4", video=(*X265, *SDR)),
    Cell("hevc10", "mp4", video=(*X265, "-pix_fmt", "yuv420p10le", "-colorspace", "bt709", "-color_range", "tv")),
    Cell("av1", "mp4", video=("-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", *SDR)),
    Cell(
        "prores",
        "mov",
        video=("-c:v", "prores_ks", "-pix_fmt", "yuv422p10le", "-colorspace", "bt709", "-color_range", "tv"),
        audio=("-c:a", "pcm_s16le"),
    ),
    Cell(
        "h264-444-odd",
        "mkv",
        video=(
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv444p",
            "-colorspace",
            "bt709",
            "-color_range",
            "tv",
        ),
        filters=f"pad=321:181:0:0,{TO_709}",
        shape=(320, 180),
    ),
    # Time.
    Cell(
        "variable-rate",
        "mp4",
        filters=f"select='not(between(n,40,60))+gt(n,150)',{TO_709}",
        container=("-fps_mode", "vfr"),
        shown_rate=Fraction(43, 2),
        dropped=range(40, 61),
    ),
    Cell(
        "long-gop", "mp4", video=("-c:v", "libx264", "-preset", "ultrafast", "-g", "1000", "-sc_threshold", "0", *SDR)
    ),
    Cell(
        "intra-refresh",
        "mp4",
        video=("-c:v", "libx264", "-x264-params", "intra-refresh=1:keyint=30", *SDR),
        refused="key frames that depend on others",
    ),
    # Shape.
    Cell("anamorphic", "mp4", filters=f"{TO_709},setsar=4/3", shape=(428, 180)),
    Cell("anamorphic-narrow", "mkv", filters=f"{TO_709},setsar=8/9", shape=(284, 180)),
    Cell("rotated-90", "mp4", copies=(("-display_rotation", "90", "IN"),), rotation=90, shape=(180, 320)),
    Cell("rotated-180", "mp4", copies=(("-display_rotation", "180", "IN"),), rotation=180),
    Cell("rotated-270", "mov", copies=(("-display_rotation", "270", "IN"),), rotation=270, shape=(180, 320)),
    Cell("rotated-45", "mp4", copies=(("-display_rotation", "45", "IN"),), refused="turned by 45°"),
    # Look.
    Cell(
        "full-range",
        "mp4",
        video=(*X264, "-pix_fmt", "yuvj420p", "-colorspace", "bt709", "-color_range", "pc"),
        filters="scale=out_color_matrix=bt709:out_range=pc",
    ),
    Cell(
        "bt601-tagged",
        "mp4",
        video=(*X264, "-pix_fmt", "yuv420p", "-colorspace", "smpte170m", "-color_range", "tv"),
        filters="scale=out_color_matrix=bt601:out_range=tv",
    ),
    Cell(
        "bt601-untagged",
        "mkv",
        video=(*X264, "-pix_fmt", "yuv420p"),
        filters="scale=out_color_matrix=bt601:out_range=tv",
    ),
    Cell("hlg", "mp4", **_hdr("arib-std-b67", "arib-std-b67")),  # type: ignore[arg-type]
    Cell("dolby-vision-8", "mov", **DOLBY_VISION),  # type: ignore[arg-type]
    Cell("dolby-vision-5", "mp4", rewritten=with_dolby_vision(5, 0), refused="profile 5", **X265_PQ),  # type: ignore[arg-type]
    Cell("pq", "mp4", **_hdr("smpte2084", "smpte2084")),  # type: ignore[arg-type]
    Cell("interlaced-h264", "mp4", video=(*X264, "-flags", "+ilme+ildct", "-x264-params", "tff=1", *SDR)),
    Cell(
        "interlaced-dv",
        "avi",
        video=("-c:v", "dvvideo", "-pix_fmt", "yuv420p"),
        audio=("-c:a", "pcm_s16le"),
        filters="scale=720:576:out_color_matrix=bt601:out_range=tv,setsar=16/15,setfield=bff",
        shape=(768, 576),
    ),
    # Sound.
    Cell("no-sound", "mp4", audio=()),
    Cell("mono-8k", "mp4", audio=("-c:a", "aac", "-ac", "1", "-ar", "8000")),
    Cell(
        "surround-centre",
        "mkv",
        audio=("-c:a", "ac3", "-ac", "6"),
        sound="sine=frequency=440:sample_rate=48000,pan=5.1|FC=0.8*c0",
    ),
    Cell("eac3", "mp4", audio=("-c:a", "eac3", "-ac", "6")),
    Cell("mp4-mp3", "mp4", audio=("-c:a", "libmp3lame")),
    Cell("mkv-flac", "mkv", audio=("-c:a", "flac")),
    Cell("mkv-opus-surround", "mkv", audio=("-c:a", "libopus", "-ac", "6")),
    Cell(
        "3gp-amr",
        "3gp",
        video=("-c:v", "mpeg4", "-q:v", "3", "-pix_fmt", "yuv420p"),
        audio=("-c:a", "libopencore_amrnb", "-ac", "1", "-ar", "8000"),
        filters="scale=out_color_matrix=bt601:out_range=tv",
        loudness=0.7,
    ),
    # Bytes after the end.
    Cell("trailing-bytes", "mp4", append=b"abcd"),
    Cell("trailing-zeros", "mp4", append=bytes(65536)),
    Cell("trailing-rubbish", "mp4", append=bytes(range(1, 256)) * 300),
    # Clips that a player begins in the middle (edit lists), and streams that begin at other times.
    Cell("edit-list", "mp4", copies=(("-ss", "1.52", "IN"),), first=38, length_s=4.48),
    Cell("edit-list-mov", "mov", copies=(("-ss", "2.0", "IN"),), first=50, length_s=4.0),
    Cell("edit-list-long-gop", "mp4", video=LONG_GOP, copies=(("-ss", "1.52", "IN"),), first=38, length_s=4.48),
    Cell("picture-late", "mp4", late_s=0.6),
    Cell("picture-late-mkv", "mkv", late_s=0.6),
    Cell("picture-late-ts", "ts", late_s=0.6),
    *(Cell(f"picture-very-late-{suffix}", suffix, late_s=5.0) for suffix in ("mp4", "mkv", "ts")),
    Cell("sound-late", "mp4", sound_late_s=0.6),
    Cell("sound-late-mkv", "mkv", sound_late_s=0.6),
    Cell("sound-late-ts", "ts", sound_late_s=0.6),
    *(
        Cell(f"sound-longer-{suffix}", suffix, filters=f"trim=end_frame=75,{TO_709}", length_s=3.0)
        for suffix in ("mp4", "mov", "mkv", "ts", "flv")
    ),
    Cell(
        "sound-longer-fragmented",
        "mp4",
        filters=f"trim=end_frame=75,{TO_709}",
        length_s=3.0,
        container=FRAGMENTED,
        frame_slack=2,
    ),
    Cell("mkv-late-clock", "mkv", container=("-output_ts_offset", "7200")),
    Cell("mkv-before-zero", "mkv", container=BEFORE_ZERO),
    Cell("webm-before-zero", "webm", video=VP9, audio=OPUS, container=BEFORE_ZERO),
    Cell("mkv-before-zero-silent", "mkv", audio=(), container=BEFORE_ZERO, refused="begin before zero"),
    Cell("webm-late-clock", "webm", video=VP9, audio=OPUS, container=("-output_ts_offset", "7200")),
    Cell("flv-late-clock", "flv", container=("-output_ts_offset", "7200")),
    Cell("mp4-late-clock", "mp4", container=("-output_ts_offset", "7200")),
    Cell("fragmented-late-clock", "mp4", container=(*FRAGMENTED, "-output_ts_offset", "7200"), frame_slack=2),
    Cell("fragments-late-clock", "mp4", container=FRAGMENTED, frame_slack=2, rewritten=with_fragments_from(7200)),
    # More streams than one of each.
    Cell("two-pictures", "mkv", inputs=(*SECOND_PICTURE, "-map", "0", "-map", "1", "-map", "2")),
    Cell("two-pictures-mp4", "mp4", inputs=(*SECOND_PICTURE, "-map", "0", "-map", "1", "-map", "2")),
    Cell("two-sounds", "mp4", inputs=("-map", "0", "-map", "1", "-map", "1")),
    Cell("sound-first", "mp4", inputs=("-map", "1", "-map", "0")),
    Cell("time-code-track", "mov", container=("-timecode", "01:00:00:00")),
    Cell(
        "cover",
        "mp4",
        video=(*LONG_GOP, "-bf", "0"),
        inputs=(*ONE_PICTURE, "-map", "0", "-map", "1", "-map", "2"),
        container=COVER,
    ),
    Cell(
        "cover-first",
        "mp4",
        video=(*LONG_GOP, "-bf", "0"),
        inputs=(*ONE_PICTURE, "-map", "2", "-map", "0", "-map", "1"),
        container=("-c:v:0", "mjpeg", "-disposition:v:0", "attached_pic"),
    ),
    *(
        Cell(
            f"one-picture-first-{suffix}",
            suffix,
            video=(*LONG_GOP, "-bf", "0"),
            inputs=(*ONE_PICTURE, "-map", "2", "-map", "0", "-map", "1"),
            container=("-c:v:0", codec, "-disposition:v:0", "default"),
        )
        for suffix, codec in (("mp4", "mjpeg"), ("mov", "png"), ("mkv", "mjpeg"))
    ),
    # Further codecs and rates.
    Cell("h264-10", "mkv", video=(*X264, "-pix_fmt", "yuv420p10le", "-colorspace", "bt709", "-color_range", "tv")),
    Cell("h264-422", "mov", video=(*X264, "-pix_fmt", "yuv422p10le", "-colorspace", "bt709", "-color_range", "tv")),
    Cell("h264-open-gop", "ts", video=(*X264[:4], "-g", "50", "-bf", "3", "-x264-params", "open-gop=1", *SDR)),
    Cell("h264-intra-refresh", "ts", video=(*X264[:4], "-g", "50", "-x264-params", "intra-refresh=1:bframes=0", *SDR)),
    Cell("h264-intra-refresh-mp4", "mp4", video=(*X264[:4], "-x264-params", "intra-refresh=1:bframes=0", *SDR)),
    Cell("hevc-open-gop", "ts", video=("-c:v", "libx265", "-preset", "ultrafast", *X265_GOP, *SDR)),
    Cell("hevc-mkv", "mkv", video=(*X265, *SDR)),
    Cell("mpeg2-ps-rates", "ts", rate=NTSC, video=("-c:v", "mpeg2video", "-q:v", "3", *SDR), audio=("-c:a", "mp2")),
    Cell("mpeg1", "ts", video=("-c:v", "mpeg1video", "-q:v", "3", *SDR), audio=("-c:a", "mp2")),
    Cell("av1-webm", "webm", video=AV1, audio=OPUS),
    Cell("av1-mkv", "mkv", video=AV1, audio=OPUS),
    Cell("vp8-without-duration", "webm", video=VP8, audio=OPUS, container=("-live", "1", "-f", "webm")),
    Cell("vp9-long-gop", "webm", video=(*VP9, "-g", "1000"), audio=OPUS),
    Cell("vp9-mp4", "mp4", video=VP9, audio=OPUS),
    Cell("mkv-long-gop", "mkv", video=LONG_GOP),
    Cell("flv-long-gop", "flv", video=LONG_GOP),
    Cell("avi-h264-long-gop", "avi", video=(*LONG_GOP, "-bf", "0"), audio=("-c:a", "libmp3lame")),
    Cell(
        "fragmented-long-gop", "mp4", video=LONG_GOP, container=("-movflags", "empty_moov", "-frag_duration", "500000")
    ),
    Cell("fragment-a-frame", "mp4", container=("-movflags", "frag_every_frame+empty_moov"), frame_slack=2),
    Cell("fragmented-with-moov", "mp4", container=("-movflags", "frag_keyframe"), frame_slack=2),
    Cell("fragmented-negative", "mp4", container=(*FRAGMENTED[:1], FRAGMENTED[1] + "+negative_cts_offsets")),
    *(
        Cell(
            f"avi-{codec}-{frames}-b-frames",
            "avi",
            video=("-c:v", codec, "-bf", frames, "-q:v", "3", *SDR),
            audio=PCM,
            frame_slack=0,
        )
        for codec in ("mpeg4", "mpeg2video", "mpeg1video")
        for frames in ("0", "2")
    ),
    Cell("3gp-h264", "3gp"),
    Cell(
        "3gp-h263",
        "3gp",
        video=("-c:v", "h263", "-q:v", "3", "-pix_fmt", "yuv420p"),
        filters="scale=352:288:out_color_matrix=bt601:out_range=tv,setsar=12/11",
        shape=(384, 288),
    ),
    Cell(
        "flv-h263",
        "flv",
        video=("-c:v", "flv1", "-q:v", "3", *SDR),
        audio=("-c:a", "libmp3lame", "-ar", "44100"),
        filters="scale=out_color_matrix=bt601:out_range=tv",
    ),
    Cell("dnxhd", "mov", video=("-c:v", "dnxhd", "-profile:v", "dnxhr_hq", "-pix_fmt", "yuv422p"), audio=PCM),
    Cell("prores-4444", "mov", video=("-c:v", "prores_ks", "-profile:v", "4", "-pix_fmt", "yuva444p10le"), audio=PCM),
    Cell(
        "mjpeg-mov", "mov", video=("-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj422p"), filters=TO_601_FULL, audio=PCM
    ),
    Cell("dv-mov", "mov", **DV),  # type: ignore[arg-type]
    Cell("dv-ntsc", "avi", **DV_NTSC),  # type: ignore[arg-type]
    Cell(
        "dv-type-1",
        "avi",
        **{**DV, "audio": (*PCM, "-ac", "2"), "container": ("-f", "dv"), "rewritten": avi_of_type_1},  # type: ignore[arg-type]
    ),
    Cell("film", "mp4", rate=Fraction(24000, 1001)),
    Cell("ntsc-drop-frame", "mov", rate=NTSC, container=("-timecode", "00:00:00;00")),
    Cell("sixty", "mp4", rate=Fraction(60)),
    Cell("slow-motion-120", "mp4", rate=Fraction(120), shown_rate=Fraction(60), frame_slack=3),
    Cell("slow-motion-240", "mov", rate=Fraction(240), shown_rate=Fraction(60), frame_slack=5),
    Cell("time-lapse", "mp4", rate=Fraction(5), video=(*X264[:4], "-g", "25", *SDR)),
    Cell(
        "still-screen",
        "webm",
        video=(*VP9, "-g", "1000"),
        audio=OPUS,
        filters=f"select='not(between(n,30,100))',{TO_709}",
        container=("-fps_mode", "vfr"),
        dropped=range(30, 101),
        frame_slack=2,
    ),
    Cell("slides", "mkv", rate=Fraction(2), shown_rate=Fraction(30), video=(*X264[:4], "-g", "25", *SDR)),
    Cell(
        "phone-rate",
        "mp4",
        filters=f"setpts='(N+0.35*mod(N,3))/25/TB',{TO_709}",
        container=("-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-video_track_timescale", "90000"),
    ),
    Cell(
        "dark-half-rate",
        "mp4",
        filters=f"select='lt(n,75)+not(mod(n,2))',{TO_709}",
        container=("-fps_mode", "vfr"),
        shown_rate=Fraction(75, 4),
        length_s=5.9,
        frame_slack=2,
    ),
    *(
        Cell(
            f"slow-end-{name}",
            suffix,
            video=(*X264, "-bf", str(ordered)),
            filters=f"select='lt(n,75)+not(mod(n,10))',{TO_709}",
            container=("-fps_mode", "vfr", *options),
            shown_rate=Fraction(50, 3),
            length_s=5.66,
            frame_slack=10,
            audio=audio,
        )
        for name, suffix, ordered, options, audio in (
            ("mp4", "mp4", 2, (), AAC),
            ("mov", "mov", 4, (), AAC),
            ("mp4-without-edits", "mp4", 4, ("-use_editlist", "0"), ()),
        )
    ),
    # Fields.
    Cell("fields-top", "mp4", **FIELDS_TOP),  # type: ignore[arg-type]
    Cell("fields-bottom", "mov", **FIELDS_BOTTOM),  # type: ignore[arg-type]
    Cell("fields-ts", "ts", **FIELDS_TOP),  # type: ignore[arg-type]
    Cell("fields-mpeg2", "ts", **{**FIELDS_TOP, "video": MPEG2_FIELDS}),  # type: ignore[arg-type]
    Cell("fields-prores", "mov", **{**FIELDS_TOP, "video": PRORES_FIELDS, "audio": PCM}),  # type: ignore[arg-type]
    Cell("fields-mkv", "mkv", **FIELDS_TOP),  # type: ignore[arg-type]
    Cell("fields-avi-mpeg4", "avi", **{**FIELDS_TOP, "video": MPEG4_FIELDS, "audio": MP3}),  # type: ignore[arg-type]
    Cell("fields-rotated-180", "mp4", **FIELDS_TOP, rotation=180, copies=(("-display_rotation", "180", "IN"),)),  # type: ignore[arg-type]
    Cell(
        "fields-narrow-and-rotated",
        "mp4",
        **{**FIELDS_TOP, **TURNED, "filters": f"{FIELDS_TOP['filters']},setsar=4/3", "shape": (180, 428)},  # type: ignore[arg-type]
    ),
    # Shapes.
    Cell("narrow-and-rotated", "mp4", filters=f"{TO_709},setsar=4/3", shape=(180, 428), **TURNED),  # type: ignore[arg-type]
    Cell("mirrored", "mp4", copies=(("-display_hflip", "IN"),), mirrored=True),
    Cell("odd-420", "webm", video=VP9, audio=OPUS, filters=f"pad=321:181:0:0,{TO_709}", shape=(320, 180)),
    Cell(
        "vertical-4k",
        "mp4",
        filters=f"trim=end_frame=25,scale=2160:3840,{TO_709}",
        length_s=1.0,
        audio=(),
        shape=(720, 1280),
        blank=True,
    ),
    Cell("one-pixel", "mkv", video=X264_444, filters=f"scale=1:1,{TO_709}", shape=(2, 2), blank=True),
    Cell("two-pixels", "mp4", filters=f"scale=2:2,{TO_709}", shape=(2, 2), blank=True),
    Cell("ribbon", "mp4", filters=f"scale=1920:16,{TO_709}", shape=(1280, 10), blank=True),
    # Sound.
    Cell("aac-surround", "mp4", audio=("-c:a", "aac", "-ac", "6")),
    Cell("aac-latm", "ts", container=("-mpegts_flags", "latm")),
    Cell("opus-mono-mp4", "mp4", audio=("-c:a", "libopus", "-ac", "1")),
    Cell("opus-ts", "ts", audio=OPUS),
    Cell("ac3-mono", "ts", audio=("-c:a", "ac3", "-ac", "1")),
    Cell("eac3-ts", "ts", audio=("-c:a", "eac3", "-ac", "6")),
    Cell("dts", "mkv", audio=("-c:a", "dca", "-strict", "-2", "-ac", "6")),
    Cell("alac-mono", "mp4", audio=("-c:a", "alac", "-ac", "1")),
    Cell("alac-surround", "mov", audio=("-c:a", "alac", "-ac", "6")),
    Cell("pcm-f32", "mov", audio=("-c:a", "pcm_f32le")),
    Cell("pcm-be24-96k", "mov", audio=("-c:a", "pcm_s24be", "-ar", "96000")),
    Cell("pcm-surround", "mov", audio=("-c:a", "pcm_s16le", "-ac", "6")),
    Cell("pcm-eight-channels", "mkv", audio=("-c:a", "pcm_s16le", "-ac", "8")),
    *(Cell(f"pcm-ten-channels-{suffix}", suffix, audio=("-af", TEN, *PCM)) for suffix in ("mov", "mkv")),
    Cell("pcm-u8", "avi", video=(*X264, "-bf", "0", *SDR), audio=("-c:a", "pcm_u8", "-ar", "11025")),
    Cell("pcm-mulaw", "mov", audio=("-c:a", "pcm_mulaw", "-ar", "8000", "-ac", "1")),
    Cell("pcm-bluray", "m2ts", audio=("-c:a", "pcm_bluray"), container=("-mpegts_m2ts_mode", "1", "-f", "mpegts")),
    Cell("flac-mp4", "mp4", audio=("-c:a", "flac", "-sample_fmt", "s16", "-strict", "-2")),
    Cell("flac-24", "mkv", audio=("-c:a", "flac", "-sample_fmt", "s32")),
    Cell("flac-32", "mkv", audio=("-c:a", "flac", "-sample_fmt", "s32", "-strict", "-2"), refused="FLAC with 32 bits"),
    Cell("pcm-s8", "mov", audio=("-c:a", "pcm_s8")),
    Cell("pcm-ts", "ts", audio=PCM, refused="sound of a kind that cannot be read"),
    # Its stream type says nothing without a descriptor.
    Cell("dts-ts", "ts", audio=("-c:a", "dca", "-strict", "-2")),
    Cell("vorbis-mkv", "mkv", audio=("-c:a", "libvorbis")),
    Cell("no-sound-ts", "ts", audio=()),
    Cell(
        "radio-first",
        "ts",
        inputs=("-f", "lavfi", "-t", "6", "-i", "sine=frequency=440", *("-map", "2", "-map", "0", "-map", "1")),
        container=("-program", "title=radio:st=0", "-program", "title=television:st=1:st=2"),
    ),
    Cell("no-sound-webm-without-duration", "webm", video=VP9, audio=(), container=("-live", "1", "-f", "webm")),
    Cell("no-sound-fragmented", "mp4", audio=(), container=FRAGMENTED, frame_slack=2),
    Cell("adpcm", "avi", audio=("-c:a", "adpcm_ima_wav")),
    Cell("adpcm-ms", "avi", audio=("-c:a", "adpcm_ms")),
    Cell("avi-h264-b-frames", "avi", audio=MP3, frame_slack=0),
    Cell("avi-h264-b-pyramid", "avi", video=B_PYRAMID, audio=MP3, frame_slack=0),
    Cell("adpcm-mov", "mov", audio=("-c:a", "adpcm_ima_qt")),
    Cell("adpcm-ms-mov", "mov", audio=("-c:a", "adpcm_ms")),
    Cell("adpcm-wav-mov", "mov", audio=("-c:a", "adpcm_ima_wav")),
    Cell("adpcm-refused", "avi", audio=("-c:a", "adpcm_yamaha"), refused="adpcm_yamaha"),
    Cell("truehd-first", "mkv", audio=TRUEHD_THEN_AC3),
    Cell("truehd-first-m2ts", "m2ts", audio=TRUEHD_THEN_AC3, container=("-mpegts_m2ts_mode", "1", "-f", "mpegts")),
    Cell("truehd-alone", "mkv", audio=("-c:a", "truehd", "-strict", "-2"), refused="truehd"),
    # Codecs of sound for which ffmpeg writes a wrong header into an AVI, and some for which it is right.
    *(
        Cell(f"avi-{audio[1]}", "avi", audio=audio, refused="times of the sound are wrong")
        for audio in (DTS, AMR, ("-c:a", "eac3"), ("-c:a", "libvorbis"))
    ),
    *(Cell(f"avi-{audio[1]}", "avi", audio=audio) for audio in (AC3_SIX, AAC, (*MP3, "-q:a", "2"), ("-c:a", "flac"))),
    # Sound that changes in the middle of a recording.
    Cell("changes-to-stereo", "ts", audio=AAC_SIX, changes=((64, AAC),), sound_slack_s=FRAME_S),
    Cell("changes-to-surround", "ts", audio=AAC, changes=((64, AAC_SIX), (80, AAC)), sound_slack_s=FRAME_S),
    Cell("changes-rate", "ts", audio=AAC, changes=((64, AAC_44),), sound_slack_s=FRAME_S),
    Cell("changes-rate-and-back", "ts", audio=AAC_44, changes=((64, AAC), (80, AAC_44)), sound_slack_s=FRAME_S),
    Cell("changes-ac3", "ts", audio=AC3_SIX, changes=((64, AC3), (80, AC3_SIX)), sound_slack_s=FRAME_S),
    Cell("changes-ac3-mkv", "mkv", audio=AC3_SIX, changes=((64, AC3), (80, AC3_SIX)), sound_slack_s=FRAME_S),
    Cell(
        "changes-mp2-to-mono", "ts", audio=MP2, changes=((64, MP2_MONO), (80, MP2)), sound_slack_s=FRAME_S, loudness=0.5
    ),
    Cell("changes-codec", "ts", audio=AAC, changes=((64, AC3),), refused="changes the format"),
    Cell("changes-codec-and-back", "ts", audio=AAC, changes=((64, MP2), (80, AAC)), refused="changes the format"),
    # Files that are cut off, and bytes that belong to no video.
    Cell("cut-ts", "ts", keep=0.6, frame_slack=3),
    Cell("cut-mkv", "mkv", keep=0.6, frame_slack=3),
    Cell("cut-webm", "webm", video=VP9, audio=OPUS, keep=0.6, frame_slack=3),
    Cell(
        "cut-webm-without-duration",
        "webm",
        video=VP9,
        audio=OPUS,
        container=("-live", "1", "-f", "webm"),
        keep=0.6,
        frame_slack=3,
    ),
    Cell("cut-avi", "avi", video=("-c:v", "mjpeg", "-q:v", "3", *SDR), audio=PCM, keep=0.6),
    Cell("cut-flv", "flv", keep=0.6, frame_slack=3),
    Cell("cut-fragmented", "mp4", container=FRAGMENTED, keep=0.6, length_s=3.0, frame_slack=2),
    Cell("cut-faststart", "mp4", container=("-movflags", "+faststart"), keep=0.9, refused="cut off"),
    Cell("rubbish-before-ts", "ts", prepend=bytes(range(100))),
    Cell("rubbish-behind-ts", "ts", append=bytes(1000)),
    Cell("rubbish-behind-mkv", "mkv", append=bytes(100_000)),
    Cell("rubbish-behind-avi", "avi", video=("-c:v", "mjpeg", "-q:v", "3", *SDR), audio=PCM, append=bytes(100_000)),
    Cell("rubbish-behind-flv", "flv", append=bytes(100_000)),
    Cell("rubbish-behind-fragmented", "mp4", container=FRAGMENTED, append=bytes(100_000), frame_slack=2),
    Cell("one-frame", "mp4", filters=f"select='eq(n,0)',{TO_709}", audio=(), refused="short", blank=True),
)
