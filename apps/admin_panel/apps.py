from django.apps import AppConfig


class AdminPanelConfig(AppConfig):
    name = "apps.admin_panel"
