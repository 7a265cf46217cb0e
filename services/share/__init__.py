"""The share service owns share records, the gallery, the latest twelve and what the sitemap lists.

A share holds all that its page needs, so that the page is served by this service alone. The service owns no bytes,
calls no other service, and stores no publish token, only its digest.
"""
