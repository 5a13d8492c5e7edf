"""What methods that mask share: what is masked, what it is cut into, and the recipe that asks for scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xgraph.errors import MethodError
from xgraph.plan import Mask, Plan, Recipe, Stage
from xgraph.reducing import Stop
from xgraph.sampling import FeatureMap, Part
from xgraph.sampling.masked import specs_for
from xgraph.sampling.superpixels import check_spec

if TYPE_CHECKING:
    from xgraph.model import Model, Place
    from xgraph.of import Of
    from xgraph.plan import Reducer, Sampler
    from xgraph.target import Target


def masked_parts(model: Model, wrt: str | None, output: str | None) -> tuple[list[Place], tuple[Part, ...]]:
    """Returns what is masked, by default the inputs that are explained by default.

    Raises:
        MethodError: It is no input.
    """
    places = model.resolve_masked(wrt, output)
    ports = {port.name: port for port in model.inputs}
    for place in places:
        if place.wrt.kind != "input":
            raise MethodError(f"wrt='{place.wrt}' cannot be masked by features; choose an input (wrt='input:NAME')")
    found = [ports[place.wrt.name] for place in places]
    return places, tuple(
        Part(place.wrt, port.role, port.channel_axis) for place, port in zip(places, found, strict=True)
    )


def picture_part(model: Model, wrt: str | None, target: Target, method: str) -> tuple[list[Place], Part]:
    """Returns the only image input.

    Raises:
        MethodError: What is masked is no picture.
    """
    places, parts = masked_parts(model, wrt, target.output)
    if len(parts) != 1 or parts[0].role != "image":
        names = ", ".join(f"'{part.wrt.name}' ({part.role})" for part in parts)
        raise MethodError(f"{method} is for one image input, not {names}; lime and kernel_shap take other inputs")
    port = next(port for port in model.inputs if port.name == parts[0].wrt.name)
    if not port.is_float:
        raise MethodError(
            f"{method} lays soft masks on pictures, but '{port.name}' is {port.dtype}; use lime or occlusion"
        )
    return places, parts[0]


def score_recipe(model: Model, target: Target, places: Sequence[Place], mask: Mask | None, **options: Any) -> Recipe:
    """Returns the recipe of a graph that gives the target's score at masked samples."""
    return Recipe(
        output=model.output(target.output).name,
        of=target.of,
        seed=target.seed,
        wrt=tuple(place.wrt for place in places),
        readout="score",
        options=tuple(sorted(options.items())),
        at=tuple(place.wrt for place in places),
        mask=mask,
    )


def score_plan(recipe: Recipe, places: Sequence[Place], sampler: Sampler, reducer: Reducer) -> Plan:
    """Returns the plan of one stage."""
    return Plan((Stage(recipe, sampler, reducer),), tuple(place.label for place in places))


def feature_map(model: Model, parts: tuple[Part, ...], segments: Any, words: bool, default: str = "slic") -> FeatureMap:
    """Returns how features are found; special tokens and padding are never switched off."""
    masks = [port.name for port in model.inputs if port.role == "mask" and len(port.shape) == 2]
    tokens = any(part.role == "tokens" for part in parts)
    named = [name for name in masks if "mask" in name.lower()]
    padding = (named or masks)[0] if tokens and masks else None
    vocabulary = model.vocabulary if tokens else None
    if isinstance(segments, str):
        check_spec(segments)
    if words and vocabulary is None:
        raise MethodError(
            "words=true needs to know which tokens make a word: lay the model's vocab.txt beside it, or give segments, "
            "a label map that numbers the words"
        )
    return FeatureMap(
        parts,
        segments,
        special=vocabulary.special_ids if vocabulary is not None else (),
        padding=padding,
        words=vocabulary.words if words and vocabulary is not None else None,
        default=default,
    )


def baselines_for(model: Model, parts: tuple[Part, ...], baseline: Any) -> tuple[Any, ...]:
    """Returns the baseline of each part; of tokens the mask, unknown or padding token of the vocabulary."""
    known = model.vocabulary
    ids = (known.mask_id, known.unk_id, known.pad_id) if known is not None else ()
    return specs_for(baseline, parts, next((one for one in ids if one is not None), None))


def probability_if_any(model: Model, output: str | None) -> Of:
    """Returns ``probability``, which papers explain, or ``logit`` where the explained output is no distribution."""
    head = model.heads[model.output(output).name]
    classes = head.shape[1] if head.shape is not None and len(head.shape) == 2 else 1
    return "probability" if head.miss is None and (head.kind != "none" or classes != 1) else "logit"


def stopping(method: str, tolerance: float | None, every: int = 100) -> Stop | None:
    """Returns when a row is done; None: when its budget is spent.

    Raises:
        MethodError: The tolerance is no positive share.
    """
    if tolerance is None:
        return None
    if not 0 < tolerance < 1:
        raise MethodError(f"{method}: tolerance={tolerance} should be a share between 0 and 1, such as 0.05")
    return Stop(tolerance, every)


def counted(method: str, **numbers: int | None) -> None:
    """Makes sure that numbers count from 1.

    Raises:
        MethodError: One does not.
    """
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise MethodError(f"{method}: {name}={number}; {name} counts from 1")
