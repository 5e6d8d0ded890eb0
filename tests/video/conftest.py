"""Small videos of every kind, made with PyAV."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest


@pytest.fixture(scope="session")
def picture():
    """``picture(width, height, t)``: a smooth colourful RGB frame with a bright square in the top left corner."""

    def draw(width, height, t=0):
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        x, y = x / max(width - 1, 1), y / max(height - 1, 1)
        image = np.stack([60 + 130 * x, 60 + 130 * y, 90 + 60 * np.sin(3 * x + 2 * y + 0.2 * t)], axis=-1)
        image[: height // 4, : width // 4] = (220, 210, 200)
        return image.round().astype(np.uint8)

    return draw


@pytest.fixture(scope="session")
def make_video():
    """``make_video(path, frames, ...)`` encodes RGB or RGBA frames and returns the path."""

    def make(path, frames, codec="libx264", pix_fmt="yuv420p", fps=25, matrix=None, full=False, ticks=None, **options):
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=fps)
            context = stream.codec_context
            context.height, context.width = frames[0].shape[:2]
            context.pix_fmt = pix_fmt
            context.thread_count = 1
            tags = options.pop("tags", {})
            for name, value in tags.items():
                setattr(context, name, value)
            context.options = {key: str(value) for key, value in options.items()}
            if ticks:
                context.time_base = stream.time_base = Fraction(1, 1000)
            for index, image in enumerate(frames):
                frame = image
                if isinstance(image, np.ndarray):
                    frame = av.VideoFrame.from_ndarray(image, "rgba" if image.shape[2] == 4 else "rgb24")
                    if pix_fmt.startswith("yuv"):
                        levels = "JPEG" if full else "MPEG"
                        target = {"dst_colorspace": matrix or "itu601", "dst_color_range": levels}
                        frame = frame.reformat(format=pix_fmt, src_color_range="JPEG", **target)
                frame.pts = ticks[index] if ticks else index
                frame.time_base = Fraction(1, 1000) if ticks else 1 / Fraction(fps)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture(scope="session")
def mux(picture):
    """``mux(path, count, codec, tone, sound_codec)``: pictures and an audio frame, in the order of time."""

    def make(path, count, codec, tone, sound_codec, bit_rate=0, **options):
        with av.open(str(path), "w", options=options) as target:
            video = target.add_stream(codec, rate=25, width=64, height=48, pix_fmt="yuv420p")
            sound = target.add_stream(sound_codec, rate=tone.sample_rate, layout=tone.layout.name)
            sound.codec_context.bit_rate = bit_rate
            tone.pts = 0
            packets = [*sound.encode(tone), *sound.encode(None)]
            for number in range(count):
                shown = av.VideoFrame.from_ndarray(picture(64, 48, number), "rgb24")
                shown.pts, shown.time_base = number, Fraction(1, 25)
                packets += video.encode(shown)
            packets += video.encode(None)
            for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
                target.mux(packet)
        return path

    return make


@pytest.fixture(scope="session")
def turn_mp4():
    """``turn_mp4(path, a, b, c, d)`` writes the linear part of the display matrix into an MP4's track header."""

    def turn(path, *linear):
        data = bytearray(path.read_bytes())
        start = data.index(b"tkhd") + 44
        a, b, c, d = (round(value * 65536) for value in linear)
        data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        path.write_bytes(data)
        return path

    return turn


@pytest.fixture(scope="session")
def small_mp4(tmp_path_factory, picture, make_video):
    """64x48, 20 frames, H.264 in MP4; tests must not modify it."""
    frames = [picture(64, 48, t) for t in range(20)]
    return make_video(tmp_path_factory.mktemp("video") / "small.mp4", frames, g=10)
