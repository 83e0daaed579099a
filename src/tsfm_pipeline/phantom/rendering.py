"""Paint a patient on a grid: structure numbers, label maps and images with partial volume."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from tsfm_pipeline.imaging.geometry import Geometry, Triple
from tsfm_pipeline.phantom.anatomy import Anatomy
from tsfm_pipeline.phantom.contrast import AIR, Contrast

SAMPLE_SPACING = 3.0
"""mm; partial volume is the mean over samples at most this far apart."""
TEXTURE_WIDTH = 4.0
"""mm; Gaussian width of the texture inside a tissue."""


def paint_structures(anatomy: Anatomy, geometry: Geometry, grow: float = 0.0) -> NDArray[np.int16]:
    """Return the structure number (see `Anatomy.structure_at`) at each voxel centre.

    Args:
        anatomy: the patient.
        geometry: canonical, axis-aligned grid (z, y, x).
        grow: mm by which every structure is blown up (negative: shrunk).
    """
    axes = _axes(geometry)
    z, y, x = np.meshgrid(*axes, indexing="ij", copy=False, sparse=True)
    warped = anatomy.to_body(x, y, z)
    full = [np.broadcast_to(values, geometry.shape) for values in warped]
    painted = np.zeros(geometry.shape, dtype=np.int16)
    straight = [
        (axis - anatomy.position[k]) / anatomy.scale[k]
        for k, axis in zip((2, 1, 0), axes, strict=True)
    ]
    margin = anatomy.reach + abs(grow)
    for number, structure in enumerate(anatomy.structures, start=1):
        for part in structure.parts:
            lower, upper = part.bounds
            box = tuple(
                slice(
                    int(np.searchsorted(line, lower[k] - margin)),
                    int(np.searchsorted(line, upper[k] + margin)),
                )
                for k, line in zip((2, 1, 0), straight, strict=True)
            )
            inside = part.distance(full[0][box], full[1][box], full[2][box]) < grow
            painted[box][inside] = number
    return painted


def paint_labels(
    anatomy: Anatomy, structures: NDArray[np.int16], values: Mapping[str, int]
) -> NDArray[np.uint8]:
    """Turn structure numbers into a dataset's label values, decided at voxel centres.

    Args:
        anatomy: the patient the numbers belong to.
        structures: numbers of any shape.
        values: fused target name -> the dataset's value; what is not named is background.
    """
    lookup = [values[name] if name else 0 for name in anatomy.annotation(values)]
    return np.asarray(lookup, dtype=np.uint8)[structures]


def paint_images(
    anatomy: Anatomy,
    geometry: Geometry,
    contrasts: Sequence[Contrast],
    rng: np.random.Generator,
) -> list[NDArray[np.float32]]:
    """Return one image per contrast on a canonical, axis-aligned grid (z, y, x).

    The value of a voxel is the mean over a lattice of samples inside it (partial volume), plus
    smooth texture whose amplitude follows the tissue, plus white noise; magnitude contrasts get
    a smooth coil shading and no negative values.

    Args:
        anatomy: the patient.
        geometry: where to render.
        contrasts: one per wanted channel.
        rng: source of tissue differences, texture and noise.
    """
    factors = np.ceil(np.asarray(geometry.spacing) / SAMPLE_SPACING).astype(int)
    nz, ny, nx = (int(size * factor) for size, factor in zip(geometry.shape, factors, strict=True))
    fine = paint_structures(anatomy, geometry.resampled((nz, ny, nx)))
    means, textures = [], []
    for contrast in contrasts:
        mean, texture = _draw_tissues(anatomy, contrast, rng)
        means.append(_block_mean(mean[fine], geometry.shape))
        textures.append(_block_mean(texture[fine], geometry.shape))
    empty = _block_mean((fine > 0).astype(np.float32), geometry.shape) < 0.5
    common = _smooth_noise(geometry, TEXTURE_WIDTH, rng)
    shading = np.exp(0.12 * _smooth_noise(geometry, 90.0, rng))
    images = []
    for contrast, mean, texture in zip(contrasts, means, textures, strict=True):
        own = _smooth_noise(geometry, TEXTURE_WIDTH, rng)
        image = mean + texture * (0.8 * common + 0.6 * own)
        if contrast.magnitude:
            image = image * shading
        image = image + contrast.noise * rng.standard_normal(geometry.shape, dtype=np.float32)
        if contrast.magnitude:
            image = np.abs(image)
        if contrast.masked:
            image[empty] = 0.0
        images.append(image.astype(np.float32))
    return images


def _draw_tissues(
    anatomy: Anatomy, contrast: Contrast, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and texture per structure number; structures of one name look alike."""
    drawn: dict[str, float] = {}
    names = [AIR, *(structure.name for structure in anatomy.structures)]
    for name in names:
        if name not in drawn:
            mean, spread, _ = contrast.tissues[name]
            drawn[name] = mean + spread * float(np.clip(rng.standard_normal(), -2, 2))
    means = np.array([drawn[name] for name in names], dtype=np.float32)
    textures = np.array([contrast.tissues[name][2] for name in names], dtype=np.float32)
    return means, textures


def _axes(geometry: Geometry) -> list[NDArray[np.float32]]:
    """World coordinates of the voxel centres along z, y, x."""
    count = geometry.shape
    return [
        (geometry.origin[k] + np.arange(n) * step).astype(np.float32)
        for k, n, step in zip((2, 1, 0), count, geometry.spacing, strict=True)
    ]


def _block_mean(fine: NDArray[np.float32], shape: Triple) -> NDArray[np.float32]:
    """Mean over the equal blocks that make up each voxel."""
    total = np.zeros(shape, dtype=np.float32)
    steps = [have // want for have, want in zip(fine.shape, shape, strict=True)]
    for offset in product(*(range(step) for step in steps)):
        total += fine[tuple(slice(o, None, step) for o, step in zip(offset, steps, strict=True))]
    return total / np.float32(np.prod(steps))


def _smooth_noise(
    geometry: Geometry, width: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Gaussian-filtered white noise of unit standard deviation; `width` in mm."""
    white = rng.standard_normal(geometry.shape, dtype=np.float32)
    smooth = gaussian_filter(white, [width / step for step in geometry.spacing], mode="reflect")
    smooth -= smooth.mean()
    return np.asarray(smooth / max(float(smooth.std()), 1e-6), dtype=np.float32)
