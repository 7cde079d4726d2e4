"""`manage.py up`: one process that starts all others, keeps them alive and stops them together.

- `premises` is what one `up` occupies before Django is set up: the lock on its data directory, its port, its secrets
  and its embedded services.
- `supervisor` runs the children in one loop without threads; `child` is one of them, `output` their joined log.
- `banner` says where everything is.
"""
