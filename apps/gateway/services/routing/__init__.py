"""Where a call goes: what its model's name means, which rule applies, which deployment is asked and which one next."""

from apps.gateway.services.routing.asking import NO_WISHES, Wishes, take_wishes
from apps.gateway.services.routing.choosing import Choice, choose_model
from apps.gateway.services.routing.explaining import RouteExplanation, explain_route
from apps.gateway.services.routing.naming import Named, find_named, resolve_name
from apps.gateway.services.routing.plan import Plan, Way

__all__ = [
    "NO_WISHES",
    "Choice",
    "Named",
    "Plan",
    "RouteExplanation",
    "Way",
    "Wishes",
    "choose_model",
    "explain_route",
    "find_named",
    "resolve_name",
    "take_wishes",
]
