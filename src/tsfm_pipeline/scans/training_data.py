"""What a model was trained on, for whoever is about to believe it."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.phantom.ownership import is_phantom
from tsfm_pipeline.scans.finding import Scan


def training_cases(card: ModelCard) -> dict[str, int]:
    """Count a model's training cases per dataset."""
    return dict(sorted(Counter(key.split("/", 1)[0] for key in card.training).items()))


def training_text(cards: Sequence[ModelCard]) -> str:
    """Say in a line which model predicts, and what it was trained on."""
    sets = [
        ("synthetic phantoms of " if card.synthetic else "")
        + ", ".join(f"{name} ({count})" for name, count in training_cases(card).items())
        for card in cards
    ]
    names = " and ".join(dict.fromkeys(card.name for card in cards))
    averaged = f" (the mean of {len(cards)} models)" if len(cards) > 1 else ""
    return f"{names}{averaged}, trained on {'; '.join(dict.fromkeys(sets))} training cases"


def phantom_warnings(cards: Sequence[ModelCard], scans: Iterable[Scan]) -> tuple[str, ...]:
    """Warn where a model knows phantoms only, and a scan is none."""
    if not any(card.synthetic for card in cards):
        return ()
    patients = [scan.name for scan in scans if not is_phantom(scan.files[0])]
    if not patients:
        return ()
    return (
        "the model was trained on synthetic phantoms and has never seen a patient: what it finds in"
        f" {', '.join(patients[:3])}{', ...' if patients[3:] else ''} means nothing; use a model"
        " that was trained on real scans",
    )
