"""What each network is given, against pixels computed by hand and against torchvision's own transform."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from av import VideoFrame

from reelmill.extractors.core.frames import Geometry
from reelmill.pipeline.decode import Scaler
from reelmill.pipeline.demo.corpus import CorpusPlan, frames
from reelmill.storage.errors import InputError
from tests.networks import BATCH, NETWORKS, cosine, make, sha256

VGG_BLUE = (30 / 255 - 0.406) / 0.225


def graded(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8: red says the row, green the column, blue is 30; both modulo 251, to tell them apart."""
    frame = np.full((height, width, 3), 30, np.uint8)
    frame[..., 0] = (np.arange(height) % 251)[:, None]
    frame[..., 1] = (np.arange(width) % 251)[None]
    return frame


@pytest.mark.parametrize(
    ("settings", "size", "corner", "expected"),
    [  # of the pixel at the crop's corner, (R, G, B) = (row % 251, column % 251, 30), as the first convolution sees it
        (("vgg19", {}), (256, 320), (16, 48), [(16 / 255 - 0.485) / 0.229, (48 / 255 - 0.456) / 0.224, VGG_BLUE]),
        (("vgg19", {}), (256, 455), (16, 116), [(16 / 255 - 0.485) / 0.229, (116 / 255 - 0.456) / 0.224, VGG_BLUE]),
        (("vgg19", {}), (453, 256), (114, 16), [(114 / 255 - 0.485) / 0.229, (16 / 255 - 0.456) / 0.224, VGG_BLUE]),
        (("i3d_r50", {}), (256, 455), (16, 116), [(v / 255 - 0.45) / 0.225 for v in (16, 116, 30)]),
        (("i3d", {}), (256, 455), (16, 115), [v / 255 * 2 - 1 for v in (16, 115, 30)]),
        (("c3d", {}), (128, 171), (8, 29), [8 - 104, 29 - 117, 30 - 128]),
        (("c3d", {"channel_order": "BGR"}), (128, 171), (8, 29), [30 - 128, 29 - 117, 8 - 104]),
    ],
)
@pytest.mark.usefixtures("thin")
def test_pixels_by_hand(
    settings: tuple[str, dict[str, Any]], size: tuple[int, int], corner: tuple[int, int], expected: list[float]
) -> None:
    """From a frame that needs no scaling: the crop, then the arithmetic, then the order of the channels."""
    extractor = make(settings[0], precision="float32", **settings[1])
    seen = Scaler(extractor.plan.geometry)(VideoFrame.from_ndarray(graded(*size), format="rgb24"))
    assert seen.shape[:2] == extractor.plan.geometry.crop
    assert seen[0, 0].tolist() == [*corner, 30]
    assert seen[-1, -1].tolist() == [(at + n - 1) % 251 for at, n in zip(corner, seen.shape, strict=False)] + [30]
    windows = np.zeros((BATCH, *extractor.plan.shape()), np.uint8)
    windows[1, -1] = seen
    given = extractor._input(extractor._values(windows))
    assert given.shape == (BATCH, 3, extractor.plan.windows.length, *extractor.plan.geometry.crop)
    np.testing.assert_allclose(given[1, :, -1, 0, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(given[0, :, -1, 0, 0], given[0, :, 0, 7, 5])  # black, as is the rest


@pytest.mark.parametrize(
    ("name", "shown_ms"),
    [  # when the frames of the first window are shown, in a film of 100 frames a second
        ("c3d", [10 * frame for frame in range(16)]),  # neighbours, whatever the rate
        ("i3d", [20 + 40 * frame for frame in range(16)]),  # 25 a second
        ("i3d_r50", [10 * int((frame + 0.5) * 800 / 3 / 10) for frame in range(8)]),  # every 8th of 30 a second
        ("vgg19", [500]),
    ],
)
def test_windows_hold_these_frames(name: str, shown_ms: list[int]) -> None:
    times = np.arange(0, 5000, 10)
    chosen, padded = NETWORKS[name].load().plan.windows.choose(times, 0, 5000)
    assert times[chosen[0]].tolist() == shown_ms
    assert not padded.any()


@pytest.mark.parametrize(
    ("name", "height", "width", "scaled"),
    [
        ("c3d", 360, 640, (128, 171)),  # the aspect is not kept
        ("i3d", 360, 640, (256, 455)),
        ("i3d_r50", 640, 360, (455, 256)),
        ("vgg19", 240, 320, (256, 341)),  # 341.33
        ("vgg19", 100, 100, (256, 256)),
    ],
)
def test_frames_are_scaled_to(name: str, height: int, width: int, scaled: tuple[int, int]) -> None:
    assert NETWORKS[name].load().plan.geometry.scaled(height, width) == scaled


@pytest.mark.parametrize(("width", "edge"), [(256, [0, 50, 150, 200]), (64, [0, 25, 175, 200])])
def test_scaling_is_bilinear_and_antialiases(width: int, edge: list[int]) -> None:
    """An edge from 0 to 200. Twice as large: a pixel is a quarter of the way from the one to the other. Half as large:
    the triangle is twice as wide, and an eighth of it lies beyond the edge; of a box nothing would."""
    frame = np.zeros((64, 128, 3), np.uint8)
    frame[:, 64:] = 200
    size = (width // 2, width)
    scaler = Scaler(Geometry(scale_to=size, crop=size))
    seen = scaler(VideoFrame.from_ndarray(frame, format="rgb24"))
    np.testing.assert_allclose(seen[width // 4, width // 2 - 2 : width // 2 + 2, 0], edge, atol=2)


@pytest.mark.parametrize(("size", "most"), [((640, 360), 10), ((320, 180), 40)])
def test_vgg19_is_given_almost_what_torchvision_gives_it(size: tuple[int, int], most: int) -> None:
    """Decoded frames, of which torchvision scales the whole colours and swscale those of the film: 1.2 levels of 255
    apart on the mean where they shrink, 1.4 where they grow; the cosine of features 0.9997. One column further left
    or right it would be more than 2.5 and 0.9990."""
    from torchvision.models import VGG19_Weights

    extractor = make("vgg19", precision="float32")
    ours, theirs = [], []
    plan = CorpusPlan(size=size, seed=3)
    for number in range(BATCH):
        (picture,) = islice(frames(plan, number), 300 * number, 300 * number + 1)
        frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        ours.append(Scaler(extractor.plan.geometry)(frame))
        whole = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
        theirs.append(VGG19_Weights.IMAGENET1K_V1.transforms()(whole))
    mine = extractor._input(extractor._values(np.stack(ours)[:, None]))[:, :, 0]
    apart = (mine - torch.stack(theirs)).abs() * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1) * 255
    assert apart.mean() < 1.8
    assert apart.max() < most
    with torch.inference_mode():
        stated = extractor._run(torch.stack(theirs)[:, :, None])
    for layer, vectors in extractor.forward(np.stack(ours)[:, None]).items():
        assert cosine(vectors, stated[layer].numpy()).min() > 0.9995


@pytest.mark.usefixtures("thin")
def test_the_mean_volume_is_cut_and_turned(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).uniform(80, 120, (1, 3, 16, 128, 171)).astype(np.float32)
    np.save(tmp_path / "mean.npy", volume)
    extractor = make("c3d", precision="float32", mean_file=tmp_path / "mean.npy", channel_order="BGR")
    windows = np.zeros((BATCH, 16, 112, 112, 3), np.uint8)
    windows[1, 15, 5, 7] = (10, 20, 30)
    first = extractor._input(extractor._values(windows))
    # rows 8–119 and columns 29–140 of the volume, whose channels are BGR as the network's are here
    np.testing.assert_allclose(first[1, :, 15, 5, 7], np.array([30, 20, 10]) - volume[0, :, 15, 8 + 5, 29 + 7])
    np.testing.assert_allclose(first[0, :, 3, 111, 111], -volume[0, :, 3, 119, 140])
    spec = extractor.specs(segment_ms=5000, decoder="d")["fc6"]
    assert spec.preprocessing["mean"] == {"volume_sha256": sha256(tmp_path / "mean.npy")}
    np.save(tmp_path / "mean.npy", volume[0, 0])
    with pytest.raises(InputError, match="needs"):
        make("c3d", mean_file=tmp_path / "mean.npy")
    with pytest.raises(InputError, match=r"cannot be read as \.npy"):
        make("c3d", mean_file=tmp_path / "none.npy")
