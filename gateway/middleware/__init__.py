"""What happens around every request, one small ASGI layer a file; gateway/app.py lists them in order."""
