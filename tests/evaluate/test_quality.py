"""PSNR and SSIM of frames and regions, compared with their definitions and with scikit-image."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from toolkit.evaluate.quality import REGIONS, Lpips, psnr, psnr_of_video, ssim


@pytest.fixture(scope="module")
def pictures():
    """Two pictures and a mask, not square."""
    rng = np.random.default_rng(0)
    one = rng.integers(0, 256, (40, 52, 3), dtype=np.uint8)
    other = np.clip(one + rng.normal(0, 12, one.shape), 0, 255).astype(np.uint8)
    inside = np.zeros(one.shape[:2], bool)
    inside[8:20, 5:30] = True
    return one, other, inside


def test_psnr_is_that_of_its_pixels(pictures):
    one, other, inside = pictures
    found = psnr(one, other, inside)
    assert tuple(found) == REGIONS
    assert found["frame"] == pytest.approx(peak_signal_noise_ratio(one, other, data_range=255), abs=1e-9)
    for region, where in (("inside", inside), ("outside", ~inside)):
        wanted = peak_signal_noise_ratio(one[where], other[where], data_range=255)
        assert found[region] == pytest.approx(wanted, abs=1e-9)


def test_psnr_of_a_known_difference():
    target = np.full((20, 20, 3), 100, np.uint8)
    edited, inside = target.copy(), np.zeros((20, 20), bool)
    inside[:10], edited[:10] = True, 110
    found = psnr(edited, target, inside)
    assert found["inside"] == pytest.approx(20 * np.log10(25.5))
    assert found["outside"] == np.inf
    assert found["frame"] == pytest.approx(20 * np.log10(25.5) + 10 * np.log10(2))
    assert psnr(target, edited, inside) == found  # unsigned numbers do not wrap around


def test_without_pixels_there_is_no_value(pictures):
    one, other, _ = pictures
    for everything, absent in ((True, "outside"), (False, "inside")):
        inside = np.full(one.shape[:2], everything)
        assert np.isnan(psnr(one, other, inside)[absent]) and np.isnan(ssim(one, other, inside)[absent])


def test_psnr_of_a_video_is_that_of_its_mean_squared_error(pictures):
    errors = np.array([4.0, 9.0, 0.0])
    with np.errstate(divide="ignore"):
        values = [*(10 * np.log10(255**2 / errors)), np.nan]
    assert psnr_of_video(values) == pytest.approx(10 * np.log10(255**2 / errors.mean()))
    assert psnr_of_video([np.inf, np.inf, np.nan]) == np.inf
    assert psnr_of_video([np.nan]) is None and psnr_of_video([]) is None
    assert psnr_of_video([31.7] * 5) == pytest.approx(31.7)


def test_ssim_is_scikit_images_plainly_called(pictures):
    one, other, inside = pictures
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    found = ssim(one, other, inside)
    grey = [structural_similarity(one[..., c], other[..., c], data_range=255, full=True, **settings) for c in range(3)]
    assert found["frame"] == pytest.approx(np.mean([mean for mean, _ in grey]), abs=1e-12)
    full = np.mean([full for _, full in grey], axis=0)
    assert found["inside"] == pytest.approx(full[inside].mean(), abs=1e-12)
    assert found["outside"] == pytest.approx(full[~inside].mean(), abs=1e-12)
    assert found["frame"] != structural_similarity(one, other, channel_axis=2, data_range=255)  # its default window


def test_equal_pictures(pictures):
    one, _, inside = pictures
    assert psnr(one, one, inside) == dict.fromkeys(REGIONS, np.inf)
    assert ssim(one, one, inside) == pytest.approx(dict.fromkeys(REGIONS, 1.0))


def test_lpips_of_the_frame_is_the_packages_and_of_parts_the_mean_of_its_map(monkeypatch):
    lpips = pytest.importorskip("lpips")
    torch = pytest.importorskip("torch")
    plain = lpips.LPIPS
    monkeypatch.setattr(lpips, "LPIPS", lambda **words: plain(pnet_rand=True, **words))  # without AlexNet's weights
    torch.manual_seed(0)
    distance = Lpips()
    rng = np.random.default_rng(0)
    target = rng.integers(0, 256, (96, 80, 3), dtype=np.uint8)
    edited, inside = target.copy(), np.zeros((96, 80), bool)
    inside[:30, :30] = True
    edited[inside] = 255 - edited[inside]
    found = distance(edited, target, inside)
    one, other = (torch.from_numpy(p).permute(2, 0, 1)[None] / 127.5 - 1 for p in (edited, target))
    distance._model.spatial = False
    with torch.inference_mode():
        assert found["frame"] == pytest.approx(float(distance._model(one, other)), rel=1e-5)
    assert found["inside"] > found["frame"] > found["outside"] > 0
    assert distance(target, target, inside) == dict.fromkeys(REGIONS, 0.0)
    assert np.isnan(distance(edited[:40], target[:40], inside[:40])["frame"])
    assert np.isnan(distance(edited, target, np.zeros_like(inside))["inside"])


def test_frames_that_are_smaller_than_the_window_have_no_similarity():
    one = np.zeros((10, 30, 3), np.uint8)
    assert all(np.isnan(value) for value in ssim(one, one, np.ones((10, 30), bool)).values())
