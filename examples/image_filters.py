"""Classic image filters on a photograph, each a convolution with a kernel that is known beforehand.

Identity, box and Gaussian blur, sharpening, the Laplacian, Sobel's gradients and an emboss: one
program computes all of them. Beside each stands the largest difference from SciPy's `ndimage`.

Run it: python examples/image_filters.py [--out folder]
"""

import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage
from sklearn.datasets import load_sample_image

import graphnn as gn

SIZE, SIGMA = 5, 1.2
SHOWN = slice(20, 280), slice(40, 380)  # the part of the photograph that is drawn


def padded(kernel: list[list[float]]) -> np.ndarray:
    """A 3 x 3 kernel, with zeros around it, of the common size."""
    return np.pad(np.float32(kernel), (SIZE - 3) // 2)


def gaussian() -> np.ndarray:
    bell = np.exp(-((np.arange(SIZE) - SIZE // 2) ** 2) / (2 * SIGMA**2))
    return np.float32(np.outer(bell, bell) / bell.sum() ** 2)


KERNELS = {
    "identity": padded([[0, 0, 0], [0, 1, 0], [0, 0, 0]]),
    "box blur": np.full((SIZE, SIZE), 1 / SIZE**2, np.float32),
    "Gaussian blur": gaussian(),
    "sharpen": padded([[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
    "Laplacian": padded([[0, 1, 0], [1, -4, 1], [0, 1, 0]]),
    "Sobel, across": padded([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
    "Sobel, down": padded([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]),
    "emboss": padded([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]),
}


def filtered(picture: gn.Node) -> gn.Node:
    """All filters, applied to every channel of (height, width, 3) colours: (filters, 3, ...)."""
    channels = gn.expand_dims(gn.transpose(picture, (2, 0, 1)), 1)  # every colour is a picture
    kernels = gn.constant(np.stack(list(KERNELS.values()))[:, None])
    # Networks call the cross-correlation convolution, and so do those who name these kernels.
    found = gn.conv(channels, kernels, padding="same", padding_mode="edge")
    return gn.swapaxes(found, 0, 1)


def edges(found: gn.Node) -> gn.Node:
    """How steep the picture is: the length of Sobel's gradient, of the mean of the colours."""
    names = list(KERNELS)
    across, down = (
        gn.mean(found[names.index(name)], axis=0) for name in ("Sobel, across", "Sobel, down")
    )
    return gn.sqrt(gn.square(across) + gn.square(down))


def draw(results: dict[str, np.ndarray], steepness: np.ndarray, path: Path) -> None:
    """Blurs and the like as they are; what may be negative, around a middle grey."""
    figure = Figure(figsize=(9.6, 7.9), layout="constrained")
    panels = figure.subplots(3, 3).flat
    for axes, (name, kernel) in zip(panels, KERNELS.items(), strict=False):
        colours = np.moveaxis(results[name], 0, -1)[SHOWN]
        middle = 0.5 if abs(kernel.sum()) < 0.5 else 0.0
        axes.imshow(np.clip(colours + middle, 0.0, 1.0))
        axes.set_title(name, fontsize=10)
        axes.set_axis_off()
    axes = figure.axes[-1]
    axes.imshow(steepness[SHOWN], cmap="gray", vmin=0.0, vmax=np.quantile(steepness, 0.99))
    axes.set_title("length of Sobel's gradient", fontsize=10)
    axes.set_axis_off()
    figure.savefig(path, dpi=60)


def main() -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="for the picture")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    photograph = (load_sample_image("china.jpg") / 255.0).astype(np.float32)  # ships inside sklearn
    x = gn.input("x", shape=photograph.shape)
    found = filtered(x)
    program = gn.compile(x, [found, edges(found)])
    program(photograph)  # compiles
    started = time.perf_counter()
    stacked, steepness = gn.to_host(program(photograph))
    milliseconds = 1e3 * (time.perf_counter() - started)
    results = dict(zip(KERNELS, stacked, strict=True))
    height, width, _ = photograph.shape
    print(f"{len(KERNELS)} filters of {height} x {width} pixels in {milliseconds:.0f} ms")
    print("largest difference from scipy.ndimage, where the picture is from 0 to 1")
    differences = {}
    for name, kernel in KERNELS.items():
        expected = ndimage.correlate(photograph, kernel[..., None], mode="nearest")
        differences[name] = float(np.abs(results[name] - np.moveaxis(expected, -1, 0)).max())
        print(f"  {name:14} {differences[name]:.1e}")
    assert np.array_equal(results["identity"], np.moveaxis(photograph, -1, 0))
    assert max(differences.values()) < 1e-5
    draw(results, steepness, chosen.out / "image_filters.png")
    return {"largest difference from SciPy": max(differences.values())}


if __name__ == "__main__":
    main()
