"""How many shares each list holds, counted once from those there are."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

INSERT = "INSERT INTO share_count (facet, value, visibility, part, count) "
COUNTS = (
    "SELECT '', '', visibility, 0, count(*) FROM share GROUP BY visibility",
    "SELECT 'style', style, visibility, 0, count(*) FROM share GROUP BY style, visibility",
    "SELECT 'model', model, visibility, 0, count(*) FROM share GROUP BY model, visibility",
    "SELECT 'tag', tag, visibility, 0, count(*) FROM share_tag GROUP BY tag, visibility",
    "SELECT 'stored', '', visibility, 0, count(*) FROM share WHERE stored GROUP BY visibility",
)


def upgrade() -> None:
    op.create_table(
        "share_count",
        sa.Column("facet", sa.String(8), primary_key=True),
        sa.Column("value", sa.Text, primary_key=True),
        sa.Column("visibility", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("part", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
    for counted in COUNTS:
        op.execute(INSERT + counted)
    op.drop_index("share_by_stored", "share")
