"""What the layouts share that read datasets nobody here knows: whose scan a case is."""

import re

from pydantic import field_validator

from tsfm_pipeline.sources.source import Source, SourceError


class GenericSource(Source):
    """A layout that any dataset may have.

    Attributes:
        patient: regular expression that finds the patient in a case's name: its first group, or
            all that it matches. Null makes every case a patient of its own.
    """

    patient: str | None = None

    @field_validator("patient")
    @classmethod
    def _expression(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression: {error}") from error
        return value

    def patient_of(self, case: str) -> str:
        """Return the patient of a case; raise SourceError where its name does not tell."""
        if self.patient is None:
            return f"{self.name}/{case}"
        match = re.search(self.patient, case)
        patient = match and ((match.re.groups and match[1]) or match[0])
        if not patient:
            raise SourceError(
                f"datasets.{self.name}.patient: {self.patient!r} finds no patient in the case name"
                f" {case!r}. Correct the expression; with `|.+` at its end, a name that fits"
                " nothing else is a patient of its own."
            )
        return f"{self.name}/{patient}"
