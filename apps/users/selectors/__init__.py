"""Who a credential stands for."""

from apps.users.selectors.actors import actor_of_key, actor_of_user
from apps.users.selectors.credentials import Credential, Identity, identify_bearer, identify_session, is_credential_live
from apps.users.selectors.keys import find_key
from apps.users.selectors.tokens import actor_of_token

__all__ = [
    "Credential",
    "Identity",
    "actor_of_key",
    "actor_of_token",
    "actor_of_user",
    "find_key",
    "identify_bearer",
    "identify_session",
    "is_credential_live",
]
