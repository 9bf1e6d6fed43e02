# check=skip=FromPlatformFlagConstDisallowed
# The Fly image and nothing else: Python 3.11, the pinned dependencies, ffmpeg and ffprobe, fonts, app and reel.
#
#   BASE        any python:3.11-slim of Debian
#   GIT_COMMIT  baked into a label and the environment (GET /api/status shows it)
#   secret `ca` a bundle of trusted roots, for networks that intercept TLS; absent or empty elsewhere.
#               It is mounted, never copied: no layer holds it.
ARG BASE=python:3.11-slim-bookworm


# ffmpeg and ffprobe from Debian's source package, with what clips and reels need: 18 MB instead of the 450 MB
# that apt's ffmpeg drags in (llvm, mesa, icu). libx264 and zlib are linked in; of dav1d, which decodes AV1, Debian has the
# shared library only. The decoders are those of src/backend/reel/formats.py; a test compares the two.
FROM --platform=linux/amd64 ${BASE} AS ffmpeg
WORKDIR /build
RUN --mount=type=secret,id=ca set -eu; \
    export DEBIAN_FRONTEND=noninteractive; \
    if [ -s /run/secrets/ca ]; then echo 'Acquire::https::CAInfo "/run/secrets/ca";' > /etc/apt/apt.conf.d/90ca; fi; \
    if [ -e /etc/apt/sources.list.d/debian.sources ]; then \
        sed -i 's/^Types: deb$/Types: deb deb-src/' /etc/apt/sources.list.d/debian.sources; \
    else \
        sed -n 's/^deb /deb-src /p' /etc/apt/sources.list > /etc/apt/sources.list.d/source.list; \
    fi; \
    apt-get update -qq; \
    apt-get install -y -qq --no-install-recommends gcc libc6-dev make nasm pkg-config dpkg-dev libx264-dev libdav1d-dev zlib1g-dev >/dev/null; \
    apt-get source -qq --download-only ffmpeg; \
    dpkg-source --no-check -x ffmpeg_*.dsc source >/dev/null; \
    rm /usr/lib/x86_64-linux-gnu/libx264.so /usr/lib/x86_64-linux-gnu/libz.so
# A component that no option names is not there: ask `ffmpeg -filters` in the image before using a new one. The AVI demuxer
# needs that of DV for AVI files of type 1; the MPEG-TS demuxer needs those of raw streams to tell what a stream without
# a descriptor is (libavformat/demux.c, set_codec_from_probe_data). As files of their own, neither is accepted.
RUN set -eu; cd source; \
    ./configure --prefix=/usr/local --enable-gpl --enable-libx264 --enable-libdav1d --pkg-config-flags=--static --extra-ldflags=-Wl,-rpath,/usr/local/lib \
        --disable-everything --disable-autodetect --disable-network --disable-doc --disable-debug --disable-ffplay \
        --enable-zlib --enable-small \
        --enable-indev=lavfi \
        --enable-protocol=file,pipe \
        --enable-demuxer=mov,matroska,mpegts,avi,flv,dv,concat,image2,image2pipe,wav,mp3,aac,loas,ac3,eac3,dts,hls,h264,hevc,m4v,mpegvideo,rawvideo,image_jpeg_pipe,image_png_pipe \
        --enable-muxer=mp4,mov,matroska,mpegts,hls,segment,image2,image2pipe,null,wav,adts,mjpeg,rawvideo,pcm_s16le \
        --enable-decoder=h264,hevc,vp8,vp9,libdav1d,mpeg1video,mpeg2video,mpeg4,h263,flv,mjpeg,prores,dvvideo,dnxhd,png,rawvideo,wrapped_avframe,aac,aac_latm,mp3,mp2,ac3,eac3,dca,opus,vorbis,flac,alac,amrnb,amrwb,pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_alaw,pcm_mulaw,pcm_bluray,adpcm_swf,adpcm_ima_wav,adpcm_ima_qt,adpcm_ms \
        --enable-encoder=libx264,aac,mjpeg,png,pcm_s16le,rawvideo,wrapped_avframe \
        --enable-parser=h264,hevc,vp8,vp9,av1,aac,aac_latm,ac3,dca,mpegaudio,opus,vorbis,flac,mpeg4video,mpegvideo,h263,mjpeg,png,dvaudio,dnxhd \
        --enable-bsf=h264_mp4toannexb,hevc_mp4toannexb,aac_adtstoasc,extract_extradata,h264_metadata,vp9_superframe,vp9_superframe_split \
        --enable-filter=bwdif,lut3d,scale,format,fps,trim,atrim,setpts,asetpts,setsar,setdar,concat,overlay,crop,pad,tpad,apad,loop,xfade,fade,afade,acrossfade,drawbox,transpose,hflip,vflip,rotate,split,asplit,aresample,aformat,pan,anull,null,copy,volume,alimiter,adelay,amix,loudnorm,tile,thumbnail,select,aselect,showinfo,metadata,signalstats,blackdetect,testsrc,testsrc2,color,sine,anullsrc \
        2>&1 | tee configure.log; \
    if grep -E 'did not match anything|ERROR' configure.log; then exit 1; fi; \
    make -j"$(nproc)" ffmpeg ffprobe >make.log 2>&1 || { tail -40 make.log; exit 1; }; \
    install -D -s ffmpeg /out/ffmpeg; install -D -s ffprobe /out/ffprobe; \
    cp -L /usr/lib/x86_64-linux-gnu/libdav1d.so.6 /out/; \
    if ldd /out/ffmpeg | grep -E 'libx264|libz'; then exit 1; fi; \
    /out/ffmpeg -v error -f lavfi -i testsrc2=d=1 -f lavfi -i sine=d=1 -c:v libx264 -c:a aac -y /tmp/probe.mp4; \
    /out/ffprobe -v error -show_entries format=duration /tmp/probe.mp4


# Fonts of every script and of emoji, and the library that tells in which direction text is read, from Debian's packages:
# 43 MB of their 155 MB (one weight, no serif font where a script has a sans font, no variants for user interfaces).
# src/backend/reel/fonts.py looks for the same files.
FROM --platform=linux/amd64 ${BASE} AS fonts
WORKDIR /build
RUN --mount=type=secret,id=ca set -eu; \
    if [ -s /run/secrets/ca ]; then echo 'Acquire::https::CAInfo "/run/secrets/ca";' > /etc/apt/apt.conf.d/90ca; fi; \
    apt-get update -qq; \
    apt-get download -qq fonts-noto-core fonts-noto-cjk fonts-noto-color-emoji libfribidi0; \
    for package in *.deb; do dpkg-deb -x "$package" all; done; \
    mkdir -p /out/usr/lib/x86_64-linux-gnu /out/usr/share/fonts/noto /out/usr/share/doc; \
    cp -a all/usr/lib/x86_64-linux-gnu/libfribidi.so.0* /out/usr/lib/x86_64-linux-gnu/; \
    for file in all/usr/share/fonts/truetype/noto/*.ttf all/usr/share/fonts/opentype/noto/*.ttc; do \
        case ${file##*/} in \
            NotoSansTifinagh-Regular.ttf) ;; \
            *UI-Regular.ttf|*Display-Regular.ttf|*Unjoined-Regular.ttf|NotoSansTifinagh*|NotoSansSignWriting*) continue ;; \
            NotoSans*-Regular.ttf|NotoSansCJK-Regular.ttc|NotoColorEmoji.ttf) ;; \
            NotoSerifTibetan-Regular.ttf|NotoSerifAhom-Regular.ttf|NotoSerifDogra-Regular.ttf) ;; \
            NotoSerifTangut-Regular.ttf|NotoSerifYezidi-Regular.ttf|NotoSerifNyiakengPuachueHmong-Regular.ttf) ;; \
            *) continue ;; \
        esac; \
        install -m 0644 "$file" /out/usr/share/fonts/noto/; \
    done; \
    for package in fonts-noto-core fonts-noto-cjk fonts-noto-color-emoji libfribidi0; do \
        install -D -m 0644 "all/usr/share/doc/$package/copyright" "/out/usr/share/doc/$package/copyright"; \
    done; \
    du -sk /out/usr/share/fonts


# The dependencies in a virtual environment, where the base's own Python version and paths make no difference.
FROM --platform=linux/amd64 ${BASE} AS dependencies
COPY src/backend/requirements.prod.txt /build/
RUN --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache/pip set -eu; \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    python -m venv /opt/venv; \
    /opt/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --only-binary=:all: --require-hashes -r /build/requirements.prod.txt; \
    /opt/venv/bin/python -m pip uninstall --quiet --disable-pip-version-check --yes setuptools pip
# Removes files that the app never uses: botocore brings the models of every AWS service (28 MB) and R2 needs only s3,
# and sts for its credential providers; overlays are PNG and JPEG, so Pillow's AVIF codec goes (Pillow then says that it
# has none); text is never slanted; apsw brings SQLite's command line tools; uvloop and lz4 ship their debug symbols. Nothing overlays this
# tree, so its bytecode may skip the check against the source.
RUN --mount=from=ffmpeg,target=/tools set -eu; cd /opt/venv/lib/python3.11/site-packages; \
    find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sts -exec rm -r {} +; \
    find boto3/data -mindepth 1 -maxdepth 1 -type d ! -name s3 -exec rm -r {} +; \
    rm -rf boto3/examples botocore/data/s3/*/examples-1.json PIL/_avif.*.so pillow.libs/libavif-*.so* apsw/sqlite_extra_binaries fontpkg_noto_sans/files/*Italic*; \
    find . -type d \( -name tests -o -name test \) -prune -exec rm -r {} +; \
    find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' \) -delete; \
    find . -name '*.so' ! -path './PIL/*' -exec env LD_LIBRARY_PATH=/tools/usr/lib/x86_64-linux-gnu /tools/usr/bin/x86_64-linux-gnu-strip --strip-unneeded {} +; \
    python -m compileall -q -j 0 --invalidation-mode unchecked-hash .


# The product's code. Checked-hash bytecode, because a developer may mount changed sources over it.
FROM --platform=linux/amd64 ${BASE} AS product
COPY src/backend/app /app/app
COPY src/backend/reel /app/reel
RUN find /app -name __pycache__ -prune -exec rm -r {} + \
    && python -m compileall -q -j 0 --invalidation-mode checked-hash /app


# Plain `docker compose up` cannot ask git for GIT_COMMIT. The commit of the checkout is read here, without git; whether
# files differ from it cannot be seen, so it is marked as unverified. Empty where the context has no .git folder.
FROM --platform=linux/amd64 ${BASE} AS revision
RUN --mount=type=bind,target=/context set -eu; cd /context; commit=; \
    if [ -f .git/HEAD ]; then \
        read -r head < .git/HEAD; ref=${head#ref: }; \
        if [ "$head" = "$ref" ]; then commit=$head; \
        elif [ -f ".git/$ref" ]; then read -r commit < ".git/$ref"; \
        elif [ -f .git/packed-refs ]; then commit=$(sed -n "s|^\([0-9a-f]*\) $ref\$|\1|p" .git/packed-refs); fi; \
    fi; \
    printf '%s' "${commit:+$commit-unverified}" > /REVISION


FROM --platform=linux/amd64 ${BASE} AS api
# The slim image has no bytecode of the standard library and a non-root user cannot write any: it costs 0.7 s at
# each start. /user_data is where the backend keeps its cache: four levels above app/*.py.
RUN set -eu; \
    python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -x '/(test|tests|idlelib|lib2to3|tkinter|turtledemo|ensurepip|distutils|pydoc_data|dist-packages|site-packages)/' \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"; \
    echo 'app:x:10001:10001::/nonexistent:/usr/sbin/nologin' >> /etc/passwd; \
    echo 'app:x:10001:' >> /etc/group; \
    install -d -o 10001 -g 10001 /user_data
COPY --from=ffmpeg /out/ffmpeg /out/ffprobe /usr/local/bin/
COPY --from=ffmpeg /out/libdav1d.so.6 /usr/local/lib/
COPY --from=fonts /out/usr/ /usr/
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=product /app /app
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1
WORKDIR /app
USER 10001:10001
EXPOSE 8080
# A stop waits 10 s for open requests; then the app gives its jobs back and ends its uploads, all within Fly's
# kill_timeout. Idle connections outlive those of Fly's edge. Only that edge reaches the port, so what it says about the
# client's scheme and address is true. parity.toml has the same options for Machines without Docker; a test compares.
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8080", \
     "--timeout-graceful-shutdown", "10", "--timeout-keep-alive", "120", \
     "--http", "app.server:HttpProtocol", "--ws", "app.server:WebSocketProtocol", \
     "--ws-max-size", "65536", "--forwarded-allow-ips", "*"]
# Last, so that another commit with the same code rebuilds nothing.
COPY --from=revision /REVISION /app/app/REVISION
ARG GIT_COMMIT=unknown
ENV GIT_COMMIT=${GIT_COMMIT}
LABEL org.opencontainers.image.title="reel-ballers-api" \
      org.opencontainers.image.description="FastAPI backend for Fly.io" \
      org.opencontainers.image.revision="${GIT_COMMIT}"
