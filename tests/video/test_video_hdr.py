"""High dynamic range: the published curves, and PQ and HLG files."""

import av
import numpy as np
import pytest

from toolkit.video import probe, read_frames
from toolkit.video.hdr import PEAK, SDR_WHITE, from_sdr, light_to_pq, pq_to_light, to_sdr, tone_map


def code(values):
    return np.round(np.asarray(values) * 65535).astype(np.uint16).reshape(1, -1, 3)


def test_pq_has_the_values_of_the_standard():
    # ITU-R BT.2408, table 1 and annex 1: PQ signal levels of nominal luminances.
    light, signal = [0, 26, 100, 203, 1000, 10000], [0, 0.38, 0.508, 0.58, 0.752, 1]
    assert light_to_pq(np.array(light)) == pytest.approx(signal, abs=2e-3)
    assert pq_to_light(light_to_pq(np.array(light))) == pytest.approx(light, rel=1e-6, abs=1e-9)


def test_tone_curve_keeps_the_dark_rises_and_ends_at_white():
    light = np.linspace(0, PEAK, 500)
    mapped = tone_map(light)
    assert mapped[light < 80] == pytest.approx(light[light < 80], abs=1e-6)
    assert (np.diff(mapped) > 0).all() and (mapped <= light + 1e-9).all()
    assert mapped[-1] == pytest.approx(SDR_WHITE, rel=1e-6)


@pytest.mark.parametrize("transfer, white", [("pq", 0.7518), ("hlg", 1.0)])
def test_grey_stays_grey_and_the_peak_is_white(transfer, white):
    levels = np.linspace(0, white, 60)
    out = to_sdr(code(np.repeat(levels[:, None], 3, 1)), transfer)[0].astype(int)
    assert np.ptp(out, axis=1).max() <= 1
    assert (np.diff(out[:, 1]) >= 0).all() and out[0, 1] == 0 and out[-1, 1] >= 254


def test_reference_white_of_pq_and_hlg_agree():
    # BT.2408: diffuse white, 203 cd/m2, is 58 % of PQ and 75 % of HLG.
    pq, hlg = to_sdr(code([0.58] * 3), "pq"), to_sdr(code([0.75] * 3), "hlg")
    assert np.abs(pq.astype(int) - hlg).max() <= 2 and 190 < pq.min() < 240


def test_bt709_colours_keep_their_hue():
    to_bt2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    linear = np.array([[0.3, 0.1, 0.05], [0.05, 0.3, 0.1], [0.02, 0.05, 0.3], [0.3, 0.2, 0.15]])
    out = to_sdr(code(light_to_pq(linear @ to_bt2020.T * SDR_WHITE)), "pq")[0]
    # Below the knee of the tone curve colours are unchanged, encoded with BT.1886's 1/2.4.
    assert np.abs(out - 255 * linear ** (1 / 2.4)).max() <= 2


@pytest.mark.parametrize("tag, transfer, level", [(16, "pq", 0.58), (18, "hlg", 0.75)])
def test_hdr_files(tmp_path, make_video, tag, transfer, level):
    frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), round(level * 65535), np.uint16), "rgb48le")
    frame = frame.reformat(
        format="yuv420p10le", src_color_range="JPEG", dst_colorspace="bt2020", dst_color_range="MPEG"
    )

    tags = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": tag}
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)  # lossless; x265 fails to start now and then under load
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = 64, 48, "yuv420p10le"
        for name, value in tags.items():
            setattr(context, name, value)
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert probe(path).hdr == transfer
    image = next(read_frames(path)).image
    assert np.abs(image.astype(int) - to_sdr(code([level] * 3), transfer)[0, 0]).max() <= 3


@pytest.mark.parametrize("transfer", ["pq", "hlg"])
def test_standard_range_survives_conversion_to_hdr_and_back(transfer):
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)[None]
    assert np.abs(to_sdr(from_sdr(grey, transfer), transfer).astype(int) - grey).max() <= 2
    signal = from_sdr(grey, transfer).astype(int)
    assert (np.diff(signal, axis=1) >= 0).all() and (signal.max(axis=2) - signal.min(axis=2)).max() <= 16
    colours = np.random.default_rng(0).integers(60, 256, (64, 64, 3), dtype=np.uint8)
    assert np.abs(to_sdr(from_sdr(colours, transfer), transfer).astype(int) - colours).max() <= 3
    # The peak, which to_sdr maps to white.
    white = {"pq": 0.7518, "hlg": 1.0}[transfer]
    assert signal[0, 255] / 65535 == pytest.approx(np.full(3, white), abs=5e-3)
