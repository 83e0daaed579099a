"""The head after skull stripping: a brain with a tumour of three parts (BraTS)."""

import numpy as np

from tsfm_pipeline.phantom.anatomy import Anatomy, Structure
from tsfm_pipeline.phantom.shapes import Common, Ellipsoid, Folded, Solid, as_point, tube


def build_head(rng: np.random.Generator) -> tuple[Structure, ...]:
    """Return a brain of about 134 x 166 x 130 mm with one tumour, in painting order."""
    size = rng.uniform(0.96, 1.04, 3)
    cerebrum = Ellipsoid((0, 0, 8), as_point(np.array([67, 83, 57]) * size))
    crest_free = Ellipsoid((0, -4, 3), as_point(np.array([62, 76, 52]) * size))
    cerebellum = Ellipsoid((0, 42, -38), (44, 30, 24))
    stem = tube([[0, 12, -20], [0, 18, -40], [0, 24, -66]], 11)
    wave = float(rng.uniform(30, 38))
    ventricles: list[Solid] = []
    for side in (-1, 1):
        way = np.array([[10, -38, 14], [12, -12, 20], [14, 16, 18], [24, 32, 4], [28, 14, -8]])
        way = way + rng.uniform(-2, 2, way.shape)
        ventricles.extend(tube(way * [side, 1, 1], [5.5, 7, 7, 6.5, 4.5]))
    deep = [Ellipsoid((side * 24, y, 6), (9, 14, 11)) for side in (-1, 1) for y in (-14, 12)]
    brain = (
        Structure("cortex", (cerebrum, cerebellum)),
        Structure("venous_sinus", (Common((Ellipsoid((0, 0, 8), (5, 90, 90)), cerebrum)),)),
        Structure("cortex", (crest_free,)),
        Structure("white_matter", (Folded(cerebellum, 9, 2, 20), *stem)),
        Structure("white_matter", (Folded(cerebrum, 11, 4.5, wave),)),
        Structure("cortex", (Common((Ellipsoid((0, 0, 28), (7, 70, 25)), cerebrum)), *deep)),
        Structure("csf", (Common((Ellipsoid((0, 0, 30), (2.5, 70, 24)), cerebrum)), *ventricles)),
        Structure("white_matter", (Ellipsoid((0, 0, 24), (12, 26, 5)),)),
    )
    return (*brain, *_tumour(brain, cerebrum, rng))


def _tumour(
    brain: tuple[Structure, ...], cerebrum: Ellipsoid, rng: np.random.Generator
) -> tuple[Structure, ...]:
    """Oedema around an enhancing rim around a necrotic core, off the midline."""
    inner = Ellipsoid(cerebrum.centre, as_point(np.multiply(cerebrum.semi_axes, 0.72)))
    whole = Anatomy(brain)
    names = np.array(["", *(structure.name for structure in brain)])
    points = rng.uniform(*inner.bounds, size=(200, 3))
    usable = (inner.distance(*points.T) < 0) & (np.abs(points[:, 0]) > 22)
    usable &= np.isin(names[whole.structure_at(points)], ["white_matter", "cortex"])
    centre = points[int(np.argmax(usable))]
    rim = rng.uniform(15, 23)
    core = rim * rng.uniform(0.5, 0.68)
    reach = rim + rng.uniform(9, 15)
    swelling = [Ellipsoid(as_point(centre), as_point(reach * rng.uniform(0.9, 1.1, 3)))]
    for _ in range(2):
        aside = centre + rng.normal(size=3) * 0.4 * reach
        swelling.append(Ellipsoid(as_point(aside), as_point(reach * rng.uniform(0.6, 0.85, 3))))
    turn = as_point(rng.uniform(-40, 40, 3))
    stretch = rng.uniform(0.85, 1.15, 3)
    growth = Ellipsoid(as_point(centre), as_point(rim * stretch), turn)
    necrosis = Ellipsoid(as_point(centre + rng.normal(size=3)), as_point(core * stretch), turn)

    def within(*solids: Solid) -> tuple[Solid, ...]:
        return tuple(Common((solid, cerebrum)) for solid in solids)

    return (
        Structure("brain_edema", within(*swelling), ("brain_edema",)),
        Structure("brain_tumor_enhancing", within(growth), ("brain_tumor_enhancing",)),
        Structure("brain_tumor_necrosis", within(necrosis), ("brain_tumor_necrosis",)),
    )
