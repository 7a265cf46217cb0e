"""The share service owns share records, the gallery, the latest twelve and what the sitemap lists.

It snapshots what it needs when a picture is shared, so that a share page is served by this service alone. It never
owns bytes, never calls another service, and never keeps a publish token, only its digest.
"""
