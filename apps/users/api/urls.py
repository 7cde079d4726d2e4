from django.urls import path

from apps.users.api import auth_views, key_views, team_views, user_views

urlpatterns = [
    path("api/v3/auth/register", auth_views.RegisterView.as_view()),
    path("api/v3/auth/login", auth_views.LoginView.as_view()),
    path("api/v3/auth/refresh", auth_views.RefreshView.as_view()),
    path("api/v3/auth/logout", auth_views.LogoutView.as_view()),
    path("api/v3/auth/verify-email", auth_views.VerifyEmailView.as_view()),
    path("api/v3/auth/forgot-password", auth_views.ForgotPasswordView.as_view()),
    path("api/v3/auth/reset-password", auth_views.ResetPasswordView.as_view()),
    path("api/v3/users/me", user_views.MeView.as_view()),
    path("api/v3/users/<str:user_id>/sessions", user_views.SessionListView.as_view()),
    path("api/v3/users/<str:user_id>/sessions/<str:session_id>", user_views.SessionDetailView.as_view()),
    path("api/v3/users/<str:user_id>/api-keys", key_views.KeyListView.as_view()),
    path("api/v3/users/<str:user_id>/api-keys/<str:key_id>", key_views.KeyDetailView.as_view()),
    path("api/v3/users/<str:user_id>/api-keys/<str:key_id>/rotate", key_views.KeyRotationView.as_view()),
    path("api/v3/teams", team_views.TeamListView.as_view()),
    path("api/v3/teams/<str:team_id>", team_views.TeamDetailView.as_view()),
    path("api/v3/teams/<str:team_id>/members", team_views.TeamMemberListView.as_view()),
    path("api/v3/teams/<str:team_id>/members/<str:user_id>", team_views.TeamMemberView.as_view()),
]
