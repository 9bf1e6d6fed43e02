"""The table of accepted video formats: those that every ffmpeg which runs this code can decode.

The image's ffmpeg has only these decoders (see the Dockerfile); a development machine's ffmpeg has more. Because both
use this table, they accept the same files. A test asks each ffmpeg whether it decodes all of them.
"""

from __future__ import annotations

from typing import Final

# ffprobe's codec names.
VIDEO_CODECS: Final = frozenset(
    {
        *("h264", "hevc", "vp8", "vp9", "av1", "mpeg1video", "mpeg2video", "mpeg4", "h263", "flv1"),
        *("mjpeg", "prores", "dvvideo", "dnxhd"),
    }
)
AUDIO_CODECS: Final = frozenset(
    {
        *("aac", "aac_latm", "mp3", "mp2", "ac3", "eac3", "dts", "opus", "vorbis", "flac", "alac", "amr_nb", "amr_wb"),
        *("pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be"),
        *("pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_alaw", "pcm_mulaw", "pcm_bluray"),
        *("adpcm_swf", "adpcm_ima_wav", "adpcm_ima_qt", "adpcm_ms"),
    }
)

# A picture with more pixels than this is refused: a decoded frame of 4:2:2 with 10 bits takes 4 bytes a pixel, a
# decoder holds up to 17 of them (H.264, ITU-T H.264 A.3.1), and the Machine has 512 MB. 4096 × 2304 and 3840 × 2160
# are below.
MAX_PIXELS: Final = 9_500_000

# A decoded frame may have this many bytes, if the decoder holds several. ffmpeg then takes 450 MB for a clip (measured
# 2026-11-28 in the image, with H.265 and 6 reference frames): 4K with 4:2:2 and 10 bits passes, with 4:4:4 it does not.
MAX_FRAME_BYTES: Final = 36_000_000
INTRA_CODECS: Final = frozenset({"mjpeg", "prores", "dvvideo", "dnxhd"})
