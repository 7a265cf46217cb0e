"""A stand-in for api.kie.ai: it speaks KIE's HTTP, keeps a billing ledger, draws pictures, and has bad days on request.

It owns its accounts, tasks, ledger, results and deliveries in one SQLite file. It is for development and tests only: it
listens on loopback, and it never talks to anyone but the receivers of its callbacks.
"""
