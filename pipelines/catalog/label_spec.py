"""What a spec says of the label: where it comes from, when it is asked, and which classes there are."""

from typing import Any

from pydantic import Field, field_validator, model_validator

from pipelines.catalog.gate_spec import Label
from pipelines.catalog.types import Duration, Spec

FEWEST_CLASSES, MOST_CLASSES, LONGEST_CLASS = 3, 100, 200


class Labels(Spec):
    """Where labels come from; label.sql beside spec.yaml gives the entity rows."""

    name: str = Field(description="what is told, for people: plots and cards say it")
    dataset: str = Field(description="the dataset that has the truth; label.sql reads it alone")
    horizon: Duration = Field(
        description="how long before the event the prediction is made; label.sql takes it as $horizon"
    )
    event_time: str | None = Field(
        None,
        description="the request field that says when the event is; left out: the dataset's event_time",
    )
    classes: tuple[Label, ...] = Field(
        (),
        max_length=MOST_CLASSES,
        description="of a multiclass: every class as label.sql gives it, words or whole numbers, in their order",
    )

    @field_validator("classes", mode="before")
    @classmethod
    def written_as_meant(cls, given: Any) -> Any:
        """YAML reads yes, no, on and off as truth values, and 1.0 as a fraction: classes are none of these."""
        odd = [each for each in given if not isinstance(each, str | int) or isinstance(each, bool)]
        if odd:
            raise ValueError(f"{odd[0]!r} is no word or whole number; put a word such as 'yes' in quotes")
        return given

    @model_validator(mode="after")
    def classes_differ(self) -> "Labels":
        """`classes` are words or whole numbers, not both, each of them once and none of them blank or very long."""
        kinds = {type(each) for each in self.classes}
        if len(kinds) > 1:
            raise ValueError(
                "classes: words or whole numbers, not both; put numbers in quotes if label.sql gives text"
            )
        if len(set(self.classes)) < len(self.classes):
            twice = next(each for each in self.classes if self.classes.count(each) > 1)
            raise ValueError(f"classes: {twice!r} stands there twice; name each once")
        if any(not str(each).strip() or len(str(each)) > LONGEST_CLASS for each in self.classes):
            raise ValueError(f"classes: a word of 1 to {LONGEST_CLASS} signs is wanted for each")
        return self
