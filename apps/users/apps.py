from django.apps import AppConfig


class UsersConfig(AppConfig):
    name = "apps.users"

    def ready(self) -> None:
        """Listen for mails to send; sweep what the broker lost."""
        from apps.events.services import register_sweep, subscribe
        from apps.users import checks, subscribers, tasks
        from apps.users.events import LinkRequested
        from apps.users.services.expiring import forget_expired_credentials
        from apps.users.services.mailing import forget_old_links

        subscribe("users.mail", to=[LinkRequested], handler=subscribers.on_link_requested)
        register_sweep("users.lost_mail", every_seconds=60, run=tasks.resend_lost_mail)
        register_sweep("users.old_links", every_seconds=3600, run=forget_old_links)
        register_sweep("users.expired_credentials", every_seconds=3600, run=forget_expired_credentials)
