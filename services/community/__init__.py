"""The community service owns users, artworks, likes and favourites, the feed, and the credits' ledger.

It orders pictures from generation and consumes generation's events; bytes are in storage, rows hold object keys. It
never authenticates, which is the gateway's work, and never talks to a provider.
"""
