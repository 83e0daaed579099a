"""What structures look like: CT numbers, abdominal MR, breast DCE phases, four brain contrasts.

CT numbers are those of a portal venous scan, rounded. Neighbours and far-off structures share
values on purpose (bladder, gallbladder and cyst; aorta, kidney and liver vessels; lesions and
muscle), so that no threshold finds a target.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

Tissue = tuple[float, float, float]
"""Mean, spread of the mean between patients, and texture amplitude within the tissue."""


@dataclass(frozen=True)
class Contrast:
    """One image channel.

    Attributes:
        tissues: mean, spread and texture per structure name.
        noise: standard deviation of the white noise per voxel.
        magnitude: MR magnitude image: no negative values, coil shading and an arbitrary gain.
        masked: zero outside the body (skull-stripped).
    """

    tissues: Mapping[str, Tissue]
    noise: float
    magnitude: bool = False
    masked: bool = False


AIR = "air"
_LOBES = (
    "lung_upper_lobe_left",
    "lung_lower_lobe_left",
    "lung_upper_lobe_right",
    "lung_middle_lobe_right",
    "lung_lower_lobe_right",
)

CT = Contrast(
    tissues={
        AIR: (-1000, 0, 0),
        "fat": (-100, 5, 10),
        "muscle": (58, 5, 10),
        "bone": (300, 30, 70),
        "spinal_canal": (25, 4, 8),
        "heart": (140, 12, 10),
        "airway": (-985, 4, 4),
        "esophagus": (45, 6, 10),
        "aorta": (168, 14, 8),
        "iliac": (150, 14, 8),
        "inferior_vena_cava": (128, 12, 8),
        "portal_vein_and_splenic_vein": (155, 12, 8),
        "hepatic_vessel": (165, 10, 8),
        "liver": (104, 7, 9),
        "spleen": (124, 8, 8),
        "kidney_right": (166, 12, 14),
        "kidney_left": (166, 12, 14),
        "gallbladder": (12, 5, 5),
        "stomach": (34, 8, 18),
        "duodenum": (56, 8, 16),
        "pancreas": (86, 6, 12),
        "adrenal_gland_right": (72, 6, 8),
        "adrenal_gland_left": (72, 6, 8),
        "urinary_bladder": (6, 4, 5),
        "prostate": (64, 6, 10),
        "uterus": (84, 6, 10),
        "colon": (22, 8, 28),
        "gas": (-880, 30, 30),
        "small_bowel": (48, 8, 16),
        "breast_gland": (30, 8, 16),
        "breast_vessel": (60, 8, 8),
        "kidney_tumor": (84, 9, 24),
        "kidney_cyst": (8, 4, 5),
        "liver_tumor": (50, 8, 16),
        "lung_tumor": (46, 8, 14),
        "pancreas_tumor": (34, 7, 10),
        "colon_tumor": (98, 8, 12),
        "breast_tumor": (62, 8, 12),
        **dict.fromkeys(_LOBES, (-810.0, 25.0, 34.0)),
    },
    noise=18,
)

ABDOMEN_MR = Contrast(
    tissues={
        AIR: (0.02, 0, 0),
        "fat": (0.16, 0.02, 0.02),
        "muscle": (0.34, 0.03, 0.03),
        "bone": (0.24, 0.03, 0.05),
        "spinal_canal": (0.12, 0.03, 0.02),
        "heart": (0.62, 0.05, 0.04),
        "airway": (0.02, 0, 0),
        "esophagus": (0.38, 0.03, 0.03),
        "aorta": (0.76, 0.06, 0.03),
        "iliac": (0.7, 0.06, 0.03),
        "inferior_vena_cava": (0.62, 0.06, 0.03),
        "portal_vein_and_splenic_vein": (0.72, 0.06, 0.03),
        "hepatic_vessel": (0.7, 0.05, 0.03),
        "liver": (0.5, 0.04, 0.03),
        "spleen": (0.56, 0.04, 0.03),
        "kidney_right": (0.74, 0.05, 0.05),
        "kidney_left": (0.74, 0.05, 0.05),
        "gallbladder": (0.2, 0.05, 0.02),
        "stomach": (0.28, 0.05, 0.06),
        "duodenum": (0.36, 0.04, 0.05),
        "pancreas": (0.46, 0.03, 0.04),
        "adrenal_gland_right": (0.42, 0.03, 0.03),
        "adrenal_gland_left": (0.42, 0.03, 0.03),
        "urinary_bladder": (0.14, 0.03, 0.02),
        "prostate": (0.38, 0.03, 0.04),
        "uterus": (0.46, 0.03, 0.04),
        "colon": (0.24, 0.04, 0.08),
        "gas": (0.03, 0.01, 0.01),
        "small_bowel": (0.34, 0.04, 0.05),
        "liver_tumor": (0.3, 0.03, 0.05),
        "kidney_cyst": (0.12, 0.03, 0.02),
        "kidney_tumor": (0.44, 0.04, 0.08),
        **dict.fromkeys(_LOBES, (0.06, 0.01, 0.02)),
    },
    noise=0.055,
    magnitude=True,
)


def breast_phase(phase: int) -> Contrast:
    """Return DCE phase 0 (before contrast medium) to 5 of the breast series.

    The tumour enhances fastest and washes out; heart and vessels enhance as much, glandular
    tissue slowly.
    """
    blood = (0.3, 0.95, 0.85, 0.78, 0.72, 0.68)[phase]
    tumour = (0.36, 0.92, 0.98, 0.92, 0.86, 0.8)[phase]
    gland = (0.38, 0.46, 0.52, 0.56, 0.58, 0.6)[phase]
    enhancing = {
        "heart": (blood, 0.06, 0.06),
        "aorta": (blood, 0.06, 0.04),
        "iliac": (blood, 0.06, 0.04),
        "breast_vessel": (blood, 0.06, 0.04),
        "breast_gland": (gland, 0.04, 0.09),
        "breast_tumor": (tumour, 0.06, 0.1),
    }
    return replace(ABDOMEN_MR, tissues={**ABDOMEN_MR.tissues, **enhancing}, noise=0.06)


def _brain(**tissues: Tissue) -> Contrast:
    return Contrast({AIR: (0, 0, 0), **tissues}, noise=0.055, magnitude=True, masked=True)


BRAIN: Mapping[str, Contrast] = {
    "flair": _brain(
        cortex=(0.56, 0.03, 0.06),
        white_matter=(0.46, 0.03, 0.04),
        csf=(0.14, 0.03, 0.02),
        venous_sinus=(0.3, 0.03, 0.03),
        brain_edema=(0.69, 0.05, 0.08),
        brain_tumor_enhancing=(0.62, 0.05, 0.08),
        brain_tumor_necrosis=(0.4, 0.05, 0.06),
    ),
    "t1": _brain(
        cortex=(0.5, 0.03, 0.04),
        white_matter=(0.62, 0.03, 0.04),
        csf=(0.2, 0.03, 0.02),
        venous_sinus=(0.34, 0.03, 0.03),
        brain_edema=(0.44, 0.04, 0.05),
        brain_tumor_enhancing=(0.46, 0.04, 0.06),
        brain_tumor_necrosis=(0.28, 0.04, 0.04),
    ),
    "t1ce": _brain(
        cortex=(0.52, 0.03, 0.04),
        white_matter=(0.64, 0.03, 0.04),
        csf=(0.2, 0.03, 0.02),
        venous_sinus=(0.95, 0.05, 0.06),
        brain_edema=(0.46, 0.04, 0.05),
        brain_tumor_enhancing=(0.84, 0.06, 0.1),
        brain_tumor_necrosis=(0.3, 0.04, 0.05),
    ),
    "t2": _brain(
        cortex=(0.55, 0.03, 0.05),
        white_matter=(0.42, 0.03, 0.04),
        csf=(0.95, 0.04, 0.04),
        venous_sinus=(0.22, 0.03, 0.03),
        brain_edema=(0.66, 0.05, 0.08),
        brain_tumor_enhancing=(0.6, 0.05, 0.08),
        brain_tumor_necrosis=(0.84, 0.05, 0.06),
    ),
}

CONTRASTS: Mapping[str, Contrast] = {
    "ct": CT,
    "abdomen_mr": ABDOMEN_MR,
    **{f"P{phase}": breast_phase(phase) for phase in range(6)},
    **BRAIN,
}
