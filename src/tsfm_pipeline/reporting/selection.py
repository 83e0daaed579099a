"""On which cases the weights behind the figures were chosen, and whether these are scored, too."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Selection:
    """What chose the best weights of a training. Persons count, whatever their cases are called.

    Attributes:
        validation: cases behind the pseudo-Dice; without any, the best weights are the last.
        scored: cases.
        shared: scored cases of persons who are among the validation cases.
        start: scored cases of persons who chose the weights that the training started from.
        current: whether the present split holds out all scored cases.
        best_is_last: whether the best weights are those of the last epoch; None where that is not
            known, or no case could choose.
    """

    validation: int
    scored: int
    shared: int = 0
    start: int = 0
    current: bool = True
    best_is_last: bool | None = None


def selection_of(
    validation: Collection[str],
    scored: Collection[str],
    start: Collection[str],
    held_out: Collection[str],
    persons: Mapping[str, str],
    best_is_last: bool | None = None,
) -> Selection:
    """Compare the cases that chose with those that are scored, by person.

    Args:
        validation: keys of the training's validation cases.
        scored: keys of its scored cases.
        start: keys of the validation cases of the trainings that it started from.
        held_out: keys of all cases that the present split holds out.
        persons: key -> person; a case that it lacks is a person of its own.
        best_is_last: whether the last epoch has the best weights; None where that is not known.
    """

    def shared_with(keys: Collection[str]) -> int:
        chose = {persons.get(key, key) for key in keys}
        return sum(persons.get(key, key) in chose for key in scored)

    return Selection(
        validation=len(validation),
        scored=len(scored),
        shared=shared_with(validation),
        start=shared_with(start),
        current=set(held_out).issuperset(scored),
        best_is_last=best_is_last,
    )


def selection_notes(selections: Iterable[Selection]) -> list[str]:
    """Say of the trainings behind a table what chose their best weights; nothing without any."""
    known = list(selections)
    apart = [one for one in known if one.validation and not one.shared]
    on_scored = [one for one in known if one.shared]
    last = [one for one in known if not one.validation]
    started = [one for one in known if one.start]
    earlier = [one for one in known if not one.current]
    known_epoch = [one for one in known if one.best_is_last is not None]
    rising = [one for one in known_epoch if one.best_is_last]
    notes = []
    if apart:
        notes.append(
            f"Best weights{_part(apart, known)} were chosen on"
            f" {_range(one.validation for one in apart)} validation cases; scored are"
            f" {_range(one.scored for one in apart)} test cases of other persons."
        )
    if on_scored:
        notes.append(
            f"Best weights{_part(on_scored, known)} were chosen on the scored cases, as in"
            " nnU-Net, so best is optimistic; final is not."
        )
    if last:
        notes.append(
            f"Best weights{_part(last, known)} are the final ones: no case was left to choose on."
        )
    if rising:
        notes.append(
            f"Best is the last epoch in {len(rising)} of {len(known_epoch)} trainings, so both"
            " columns are the same there: the moving average of the pseudo-Dice still rose."
        )
    if started:
        notes.append(
            f"The weights that {len(started)} of {len(known)} trainings started from were chosen"
            f" with {_range(one.start for one in started)} of the scored persons' cases."
        )
    if earlier:
        notes.append(
            f"{len(earlier)} of {len(known)} trainings were scored on cases that the present"
            " split does not hold out; run them again."
        )
    return notes


def _part(some: Sequence[Selection], known: Sequence[Selection]) -> str:
    """Say which part of the trainings is spoken of; nothing where it is all of them."""
    return "" if len(some) == len(known) else f" of {len(some)} of {len(known)} trainings"


def _range(counts: Iterable[int]) -> str:
    found = sorted(set(counts))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"
