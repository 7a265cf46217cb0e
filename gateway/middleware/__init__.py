"""ASGI middleware around every request, one layer a module; gateway/app.py lists them in order."""
