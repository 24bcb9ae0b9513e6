"""Fields: what an example of click-through prediction is described by, and what all models over fields share.

Paper 003, eq. 4 to 6 and 12. B examples, n fields, D dimensions. Vectors are rows, so a matrix of the paper stands
transposed: W_i (size, D).

A missing field has a zero vector and is not `present`, so that no attention falls on it: films without genres, videos
without sound and items that training never saw are examples like any other.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.core.base import Model
from reelmill.models.protocols.clicks.inputs import of_codes, of_numbers
from reelmill.models.protocols.clicks.settings import FieldSettings, widths_of
from reelmill.storage.errors import InputError, nearest

KINDS = ("category", "number", "modality")
SIDES = ("user", "item")

Values = Mapping[str, Tensor]
"""What the fields hold, by name. Category: codes (B,) or (B, Q), of which −1 is none. Number and modality: (B, size); a
row with NaN, as a feature store gives where nothing could be decoded, is absent."""


@dataclass(frozen=True)
class Field:
    """One field."""

    name: str
    kind: str
    """`category`: one or many codes; `number`: normalised numbers; `modality`: a feature vector of the content."""
    size: int
    """Codes, or numbers in the vector."""
    side: str
    """`user` fields guide the fusion of modalities."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.side not in SIDES or self.size < 1 or not self.name:
            raise InputError(f"{self}: needs a name, a kind of {KINDS}, a size of at least 1 and a side of {SIDES}")
        if self.kind == "modality" and self.side == "user":
            raise InputError(f"{self}: a modality is of the item; make this a number")

    @property
    def key(self) -> str:
        """`side.kind.name`, which with `size` is the whole field."""
        return f"{self.side}.{self.kind}.{self.name}"


def sizes(fields: Sequence[Field]) -> dict[str, int]:
    """Fields as the sizes of a model: `Model(settings, **sizes(fields))`."""
    if len({field.name for field in fields}) < len(fields):
        raise InputError(f"fields {[field.name for field in fields]}: each needs a name of its own")
    return {field.key: field.size for field in fields}


def fields_of(given: Mapping[str, int]) -> list[Field]:
    """Inverse of `sizes`. Raises InputError for a key that is not `side.kind.name`."""
    found = []
    for key, size in given.items():
        if key.count(".") < 2:
            raise InputError(f"size {key!r}: must be side.kind.name, for example user.category.age")
        side, kind, name = key.split(".", 2)
        found.append(Field(name, kind, size, side))
    sizes(found)
    return found


@dataclass(frozen=True)
class Batch:
    """B examples."""

    values: Values
    label: Tensor
    """(B,) 1.0 for a click, 0.0 for none."""


@dataclass(frozen=True)
class Reading:
    """What a model makes of B examples."""

    logit: Tensor
    """(B,) before the sigmoid."""
    vectors: Tensor
    """(B, n, D) field vectors."""


class Standard(nn.Module):
    """Numeric fields x (size,) → (x − mean) / scale ("normalized eigenvalue", §3.2). The task measures both on the
    training items, for a modality as TransGRec does: scale is the root mean square length, so that x has unit length
    and its field vector the spread of the others, whatever the number of features."""

    mean: Tensor
    scale: Tensor

    def __init__(self, fields: Sequence[Field]) -> None:
        super().__init__()
        self.fields = [field for field in fields if field.kind != "category"]
        self.register_buffer("mean", torch.zeros(sum(field.size for field in self.fields)))
        self.register_buffer("scale", torch.ones(len(self.fields)))

    def measured(self, name: str, mean: Tensor, scale: float) -> None:
        """Keep the mean (size,) and the scale of one field. Raises InputError for another name, or a scale of 0."""
        names = [field.name for field in self.fields]
        if name not in names:
            raise InputError(f"numeric field {name!r}: {nearest(name, names)}")
        if not scale > 0:
            raise InputError(f"field {name!r} is constant over the training items (scale {scale}); leave it out")
        self._means()[names.index(name)].copy_(mean)
        self.scale[names.index(name)] = scale

    def forward(self, values: Values) -> dict[str, Tensor]:
        """All values, the numeric ones standardised; NaN stays NaN."""
        done = {
            field.name: (values[field.name] - mean) / scale
            for field, mean, scale in zip(self.fields, self._means(), self.scale, strict=True)
        }
        return {**values, **done}

    def _means(self) -> Sequence[Tensor]:
        return self.mean.split([field.size for field in self.fields])


class FieldVectors(nn.Module):
    """Eq. 5 and 6: x → x W for each field, with a W (size, D) of its own that starts with spread `std`.

    `linear`: W has one more column, the weights of a linear model, which start at zero: they are looked up with the
    rest, in one go."""

    def __init__(self, fields: Sequence[Field], dim: int, pooling: str, std: float, linear: bool = False) -> None:
        super().__init__()
        self.fields, self.pooling, self.std, self.linear = list(fields), pooling, std, linear
        self.weight = nn.ParameterList(nn.Parameter(torch.empty(field.size, dim + linear)) for field in fields)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights."""
        for weight in self.weight:
            drawn = weight.new_empty(len(weight), weight.shape[1] - self.linear)
            weight.zero_()[:, : drawn.shape[1]] = drawn.normal_(0, self.std, generator=generator)

    def forward(self, values: Values) -> tuple[Tensor, Tensor]:
        """Vectors (B, n, D), with one more column if `linear`, and present (B, n)."""
        dtype = self.weight[0].dtype
        inputs = [
            of_codes(values[field.name], field.size, self.pooling, dtype)
            if field.kind == "category"
            else of_numbers(values[field.name])
            for field in self.fields
        ]
        found = [x.times(weight) for x, weight in zip(inputs, self.weight, strict=True)]
        return torch.stack(found, 1), torch.stack([x.present for x in inputs], 1)


def perceptron(columns: int, hidden: str) -> nn.Sequential:
    """Eq. 3: (B, columns) → (B, 1) through hidden layers with ReLU, such as "128-64". Raises InputError."""
    layers: list[nn.Module] = []
    for width in widths_of(hidden):
        layers += [nn.Linear(columns, width), nn.ReLU()]
        columns = width
    return nn.Sequential(*layers, nn.Linear(columns, 1))


CLIP = 1e-7
"""ŷ counts as at least so far from 0 and 1 in eq. 12."""


def log_loss(logit: Tensor, label: Tensor) -> Tensor:
    """Eq. 12: mean of −(y log ŷ + (1 − y) log(1 − ŷ)), with ŷ = σ(logit) (printed as y) within CLIP … 1 − CLIP.

    Clipped as a logit, where float32 is exact. The gradient is that of ŷ unclipped: an example that is far off is
    learnt from, where a clip would leave it alone."""
    fixed, bound = logit.detach(), math.log((1 - CLIP) / CLIP)
    clipped = fixed.clamp(-bound, bound) + (logit - fixed)
    return F.softplus((1 - 2 * label) * clipped).mean()  # −log(1 − σ(z)) = softplus(z), −log σ(z) = softplus(−z)


class FieldModel(Model):
    """A model over fields: from its reading to the loss and the score."""

    def __init__(self, settings: FieldSettings, given: Mapping[str, int]) -> None:
        super().__init__()
        self.sizes, self.fields = dict(given), fields_of(given)
        if all(field.kind == "modality" for field in self.fields):
            raise InputError(f"fields {list(given)}: besides modalities at least one is needed, such as the user's id")
        self.l2 = settings.l2
        self.standard = Standard(self.fields)

    def initialise(self, generator: torch.Generator) -> Self:
        """Draw all weights: field vectors with their own spread, linear layers with variance 2 / (columns) (He), so
        that no layer changes the scale; what else there is starts at zero."""
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, FieldVectors):
                    module.initialise(generator)
                elif isinstance(module, nn.Linear):
                    module.weight.normal_(0, (2 / module.in_features) ** 0.5, generator=generator)
                    if module.bias is not None:
                        module.bias.zero_()
        return self

    def read(self, values: Values) -> Reading:
        """Logit and what led to it, of raw values."""
        raise NotImplementedError

    def loss(self, batch: Batch, turn: int = 0) -> dict[str, Tensor]:
        """Eq. 12 plus l2 times the mean over the examples of Σ |e_i|² over their field vectors."""
        reading = self.read(batch.values)
        log = log_loss(reading.logit, batch.label)
        vectors = reading.vectors if self.l2 else reading.vectors.detach()
        l2 = torch.linalg.vector_norm(vectors).square() / len(batch.label)
        return {"loss": log + self.l2 * l2 if self.l2 else log, "log_loss": log, "l2": l2}

    @torch.no_grad()
    def score(self, values: Values) -> Tensor:
        """ŷ (B,), the probability of a click."""
        return self.read(values).logit.sigmoid()
