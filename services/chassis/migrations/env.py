"""Alembic's entry point, shared by every service: hands its context to the upgrade that has called alembic."""

from alembic import context

context.config.attributes["connect"](context)
