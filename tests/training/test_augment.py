import numpy as np
import pytest

from extend.training.augment import augment


def test_without_any_option_nothing_changes() -> None:
    x = np.ones((3, 5))
    assert augment(x, np.random.default_rng(0)) is x


@pytest.mark.parametrize("options", [{"padding": 2}, {"flip": True}, {"padding": 1, "flip": True}, {"size": 4}])
def test_every_picture_is_a_crop_of_itself_or_its_mirror_image(options: dict[str, int]) -> None:
    x = np.arange(6 * 5 * 5 * 2, dtype=np.uint8).reshape(6, 5, 5, 2)
    got = augment(x, np.random.default_rng(1), **options)
    side, pad = options.get("size", 5), options.get("padding", 0)
    assert got.shape == (6, side, side, 2) and got.dtype == x.dtype
    for picture, made in zip(x, got, strict=True):
        mirrors = [picture, picture[:, ::-1]] if options.get("flip") else [picture]
        wide = [np.pad(m, ((pad, pad), (pad, pad), (0, 0)), mode="reflect") for m in mirrors]
        room = range(wide[0].shape[0] - side + 1)
        assert any(np.array_equal(w[i : i + side, j : j + side], made) for w in wide for i in room for j in room)


def test_crops_and_mirror_images_come_from_the_picture() -> None:
    picture = np.arange(36, dtype=np.uint8).reshape(1, 6, 6, 1)
    windows = {
        bytes(p[i : i + 4, j : j + 4]) for p in (picture[0], picture[0, :, ::-1]) for i in range(3) for j in range(3)
    }
    rng, seen = np.random.default_rng(0), set()
    for _ in range(300):
        seen.add(bytes(augment(picture, rng, size=4, flip=True)))
    assert seen == windows
