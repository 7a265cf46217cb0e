"""The routes of the second family (S2, S3): artworks, likes, feed and users."""

from functools import partial

from gateway.rest.responses import route
from gateway.routes import callbacks
from gateway.routes.community import artworks, credits_, feed, reactions, tasks, users

# Static paths stand before those with an id: `generate`, `batch` and `me` are no ids.
ROUTES = [
    route("/api/auth/login", POST=users.login),
    route("/api/artworks/generate", POST=artworks.generate),
    route("/api/artworks/upload", POST=artworks.upload),
    route("/api/artworks/save-draft", POST=artworks.save_draft),
    route("/api/artworks/publish", POST=artworks.publish_picture),
    route("/api/artworks/task-status/{id}", GET=tasks.task_status),
    route("/api/artworks/kie-status/{id}", GET=tasks.redirect_to_status),
    route("/api/artworks/kie-result/{id}", GET=tasks.result),
    route("/api/artworks/batch/state", POST=reactions.batch_state),
    route("/api/artworks/batch/hot-data", POST=reactions.batch_hot_data),
    route("/api/artworks/{id}", GET=artworks.read, DELETE=artworks.delete),
    route("/api/artworks/{id}/generation-status", GET=tasks.generation_status),
    route("/api/artworks/{id}/state", GET=reactions.state),
    route("/api/artworks/{id}/hot-data", GET=reactions.hot_data),
    route("/api/artworks/{id}/publish", POST=artworks.publish),
    route("/api/artworks/{id}/unpublish", POST=artworks.unpublish),
    route("/api/artworks/{id}/regenerate", POST=artworks.regenerate),
    route("/api/artworks/{id}/like", POST=reactions.like, DELETE=reactions.unlike),
    route("/api/artworks/{id}/favorite", POST=reactions.favorite, DELETE=reactions.unfavorite),
    route("/api/artworks/{id}/report", POST=artworks.report),
    route("/api/feed", GET=feed.newest),
    route("/api/hotness/trending", GET=feed.trending),
    route("/api/hotness/trending/{window}", GET=feed.trending_of_window),
    route("/api/hotness/{id}", GET=feed.hotness),
    route("/api/users/me", GET=users.me, DELETE=users.erase),
    route("/api/users/me/privacy", POST=users.privacy),
    route("/api/users/me/export", GET=users.export),
    route("/api/users/{id}/profile", GET=users.profile),
    route("/api/users/{id}/summary", GET=users.summary),
    route("/api/users/{id}/artworks", GET=users.artworks),
    route("/api/users/{id}/favorites", GET=users.favorites),
    route("/api/users/{id}/likes", GET=users.likes),
    route("/api/erasures/{id}", GET=users.receipt),
    route("/api/credits/me", GET=credits_.balance),
    route("/api/checkin/status", GET=credits_.check_in_status),
    route("/api/checkin/checkin", POST=credits_.check_in),
    # The seed's path (docs/rest.md#community-callback).
    route("/api/kie/kie-callback", POST=partial(callbacks.receive, "flux-kontext")),
]
