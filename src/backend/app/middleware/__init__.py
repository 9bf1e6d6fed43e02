"""The layers around every request, pure ASGI, from the outside in: CORS, unexpected errors, body limit, user context,
database sync."""
