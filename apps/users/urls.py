from django.urls import include, path

from apps.users.views import account, entering, keys, oauth

urlpatterns = [
    path("", include("apps.users.api.urls")),
    path("login", entering.LoginPage.as_view(), name="login"),
    path("logout", entering.LogoutPage.as_view(), name="logout"),
    path("register", entering.RegisterPage.as_view(), name="register"),
    path("forgot-password", entering.ForgotPasswordPage.as_view(), name="forgot_password"),
    path("reset-password", entering.ResetPasswordPage.as_view(), name="reset_password"),
    path("verify-email", entering.VerifyEmailPage.as_view(), name="verify_email"),
    path("account", account.AccountPage.as_view(), name="account"),
    path("account/profile", account.ProfileChange.as_view(), name="account_profile"),
    path("account/password", account.PasswordChange.as_view(), name="account_password"),
    path("account/sessions/<str:session_id>/end", account.SessionEnd.as_view(), name="account_session_end"),
    path("account/clients/<str:client_id>/end", account.ClientEnd.as_view(), name="account_client_end"),
    path("keys", keys.KeysPage.as_view(), name="api_keys"),
    path("keys/<str:key_id>/rotate", keys.KeyRotation.as_view(), name="api_key_rotate"),
    path("keys/<str:key_id>/revoke", keys.KeyRevocation.as_view(), name="api_key_revoke"),
    path("oauth/authorize", oauth.Authorize.as_view(), name="oauth_authorize"),
    path("oauth/token", oauth.Token.as_view()),
    path("oauth/revoke", oauth.Revoke.as_view()),
    path("oauth/introspect", oauth.Introspect.as_view()),
    path("oauth/userinfo", oauth.UserInfo.as_view()),
    path(".well-known/openid-configuration", oauth.Discovery.as_view()),
    path(".well-known/oauth-authorization-server", oauth.Discovery.as_view()),
    path(".well-known/jwks.json", oauth.Jwks.as_view()),
]
