"""What a client may say about routing itself: `fallbacks` and `disable_fallbacks`. Providers never see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apps.gateway.errors import ModelUnknown, ParameterInvalid
from apps.gateway.models.catalogue import MAX_FALLBACKS
from apps.gateway.selectors import Caller, Snapshot
from apps.gateway.services.routing.naming import resolve_name

FIELDS = ("fallbacks", "disable_fallbacks")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the client wants: models to ask when the first cannot answer, or none at all."""

    fallbacks: tuple[str, ...] = ()
    disables_fallbacks: bool = False


NO_WISHES = Wishes()


def take_wishes(request: dict[str, Any], native: dict[str, Any] | None, *, disables_fallbacks: bool = False) -> Wishes:
    """Return what a request says about routing and take it out of it, and out of the body as the client sent it.

    `disables_fallbacks` is what a header says. Raise ParameterInvalid.
    """
    fallbacks = request.pop("fallbacks", None)
    disabled = request.pop("disable_fallbacks", None)
    if native is not None and fallbacks is not None:
        # Otherwise it is a word of the client's own format, and not for us.
        native.pop("fallbacks", None)
    if native is not None:
        native.pop("disable_fallbacks", None)
    if fallbacks is None and disabled is None:
        return Wishes(disables_fallbacks=True) if disables_fallbacks else NO_WISHES
    if disabled is not None and not isinstance(disabled, bool):
        raise ParameterInvalid("`disable_fallbacks` has to be true or false.", param="disable_fallbacks")
    return Wishes(_read_names(fallbacks), disables_fallbacks or bool(disabled))


def check_wishes(wishes: Wishes, snapshot: Snapshot, caller: Caller) -> None:
    """Make sure that the caller may use what it names. Raise ModelUnknown."""
    for at, name in enumerate(wishes.fallbacks):
        if resolve_name(snapshot, caller, name) is None:
            raise ModelUnknown(
                f"Model {name[:200]!r} in `fallbacks` does not exist, or this key may not use it.",
                param=f"fallbacks[{at}]",
            )


def _read_names(given: Any) -> tuple[str, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or len(given) > MAX_FALLBACKS:
        raise ParameterInvalid(f"`fallbacks` has to be a list of at most {MAX_FALLBACKS} models.", param="fallbacks")
    names = []
    for at, item in enumerate(given):
        name = item.get("model") if isinstance(item, dict) else item
        if not isinstance(name, str) or not name:
            raise ParameterInvalid(
                "A fallback has to be the name of a model, or an object that names one in `model`.",
                param=f"fallbacks[{at}]",
            )
        names.append(name)
    return tuple(names)
