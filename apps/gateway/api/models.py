"""The catalogue over REST."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.billing.selectors import usage_of_model
from apps.core.api.views import View
from apps.core.money import DEFAULT_CURRENCY
from apps.gateway.api import examples
from apps.gateway.api.serializers import (
    ModelListOutput,
    ModelOutput,
    ModelUsageOutput,
    UsagePeriod,
)
from apps.gateway.selectors import find_usable_model, usable_models
from apps.gateway.selectors.health import model_healths

READ = "models:read"


class ModelListView(View):
    """The models that the caller may use."""

    scopes: ClassVar[dict[str, str]] = {"GET": READ}

    @extend_schema(
        operation_id="models_list",
        summary="Models that you may use",
        responses=ModelListOutput,
        examples=[examples.answered({"items": [examples.MODEL]})],
    )
    def get(self, request: Request) -> Response:
        """Answer all of them: a catalogue is short enough to be read as a whole."""
        context = {"health": model_healths()}
        return Response({"items": ModelOutput(usable_models(self.actor), many=True, context=context).data})


class ModelView(View):
    """One model."""

    scopes: ClassVar[dict[str, str]] = {"GET": READ}

    @extend_schema(
        operation_id="models_retrieve",
        summary="One model",
        responses=ModelOutput,
        examples=[examples.answered(examples.MODEL)],
    )
    def get(self, request: Request, model_id: str) -> Response:
        """Answer a model by its id, or by its name."""
        model = find_usable_model(self.actor, model_id)
        return Response(ModelOutput(model, context={"health": model_healths()}).data)


class ModelUsageView(View):
    """What one model was used for."""

    scopes: ClassVar[dict[str, str]] = {"GET": "billing:read"}

    @extend_schema(
        operation_id="models_usage",
        summary="Usage and cost of one model",
        description="Members see their own usage, administrators that of the whole organization.",
        parameters=[UsagePeriod],
        responses=ModelUsageOutput,
        examples=[examples.answered(examples.MODEL_USAGE)],
    )
    def get(self, request: Request, model_id: str) -> Response:
        """Answer the sums over a period, the current month unless told."""
        model = find_usable_model(self.actor, model_id)
        query = UsagePeriod(data=request.query_params)
        query.is_valid(raise_exception=True)
        totals = usage_of_model(model.name, actor=self.actor, **query.validated_data)
        found = {"model": model.name, **query.validated_data, "currency": DEFAULT_CURRENCY, "totals": totals}
        return Response(ModelUsageOutput(found).data)
