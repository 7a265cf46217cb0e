"""The community service owns people, artworks, what people think of them, the feed, and the credits' ledger.

It orders pictures from generation and learns of them from generation's events; bytes lie in storage, rows hold keys. It
never verifies an identity, which is the gateway's work, and never talks to a provider.
"""
