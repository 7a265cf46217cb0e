"""ASGI middleware around every request, layer by layer; gateway/app.py lists the layers in order."""
