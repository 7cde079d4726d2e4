"""Failures of the gateway, other than those of providers (see providers/base.py)."""

from apps.core.errors import (
    AppError,
    DependencyDown,
    InvalidInput,
    NotFound,
    PermissionRefused,
    RateLimited,
    TooLarge,
)


class ModelUnknown(NotFound):
    code, title = "gateway.model_unknown", "There is no such model"


class ProviderUnknown(NotFound):
    code, title = "gateway.provider_unknown", "There is no such provider"


class CallRefusedByRule(PermissionRefused):
    """A routing rule refuses the call; the message is the rule's."""

    code, title = "gateway.refused_by_rule", "A routing rule does not let the call through"


class RuleTargetMissing(DependencyDown):
    """A routing rule sends the call to a model or deployments that are not offered; it must not go anywhere else."""

    code, title = "gateway.rule_target_missing", "A routing rule names a model that is not offered"


class DeploymentsBusy(RateLimited):
    """Every deployment that could take the call has as many calls as it may have, or is limited by its provider."""

    code, title = "gateway.deployments_busy", "Every deployment of the model is busy"


class DeploymentsResting(DependencyDown):
    """Every deployment that could take the call has failed again and again and is left alone for a while."""

    code, title = "gateway.deployments_resting", "Every deployment of the model is cooling down"


class ModelUnsuited(InvalidInput):
    code, title = "gateway.model_unsuited", "The model cannot do this"


class ParameterInvalid(InvalidInput):
    code, title = "gateway.parameter_invalid", "A parameter is not valid"


class ParameterMissing(InvalidInput):
    code, title = "gateway.parameter_missing", "A parameter is missing"


class BodyMalformed(InvalidInput):
    code, title = "gateway.body_malformed", "The body is not the JSON object that is expected"


class BodyTooLarge(TooLarge):
    code, title = "gateway.body_too_large", "The body is too large"


class MediaTypeRefused(AppError):
    code, status, title = "gateway.media_type_refused", 415, "The content type is not supported"


class RouteUnknown(NotFound):
    code, title = "gateway.route_unknown", "There is no such endpoint"


class MethodRefused(AppError):
    code, status, title = "gateway.method_refused", 405, "The endpoint does not know this method"


class RequestLimitReached(RateLimited):
    code, title = "gateway.request_limit_reached", "A limit of requests per minute is reached"


class TokenLimitReached(RateLimited):
    code, title = "gateway.token_limit_reached", "A limit of tokens per minute is reached"


class ParallelLimitReached(RateLimited):
    code, title = "gateway.parallel_limit_reached", "A limit of calls at a time is reached"


class CacheMissed(NotFound):
    """The caller wants a cached answer or none."""

    code, title = "gateway.cache_missed", "There is no cached answer"


class AccessWithdrawn(PermissionRefused):
    """The key, user or organization was revoked while the call was running."""

    code, title = "gateway.access_withdrawn", "The permission for this call was withdrawn"


class CallStopped(PermissionRefused):
    """Staff ended the call while it was running."""

    code, title = "gateway.call_stopped", "The call was stopped"


class CallerUnreachable(DependencyDown):
    """Whether the key is good cannot be said now: the database does not answer."""

    code, title = "gateway.caller_unreachable", "Keys cannot be checked at the moment"


class CatalogueUnreachable(DependencyDown):
    code, title = "gateway.catalogue_unreachable", "The model catalogue cannot be read at the moment"


class LimitsUnreachable(DependencyDown):
    code, title = "gateway.limits_unreachable", "Limits cannot be checked at the moment"


class JournalRefused(DependencyDown):
    """Usage cannot be written down, so no call is made."""

    code, title = "gateway.journal_refused", "Usage cannot be recorded at the moment"


class CallCancelled(AppError):
    """The caller left, or stopped the call, before anything was answered. Nobody sees this status."""

    code, status, title = "gateway.call_cancelled", 499, "The call was cancelled"


class ResponseUnknown(NotFound):
    """There is no such stored response: never made, not stored, deleted, too old, or somebody else's."""

    code, title = "gateway.response_unknown", "There is no such response"


class PreviousResponseUnknown(InvalidInput):
    """What a response should go on from is not there: it was not stored, or it was deleted."""

    code, title = "gateway.previous_response_unknown", "The previous response is not stored"


class ResponseNotStreamed(InvalidInput):
    """Only what was made with `stream` or `background` can be followed."""

    code, title = "gateway.response_not_streamed", "The response has no stream"


class ResponsesUnreachable(DependencyDown):
    code, title = "gateway.responses_unreachable", "Stored responses cannot be read at the moment"


class ContentBlocked(InvalidInput):
    """A guardrail policy does not let the prompt or the answer through; the message names kinds, never text."""

    code, title = "gateway.content_blocked", "A guardrail blocked the content"


class GuardPolicyInvalid(InvalidInput):
    """A guardrail policy says something that cannot be carried out; `errors` names the fields."""

    code, title = "gateway.guard_policy_invalid", "The guardrail policy is not valid"
