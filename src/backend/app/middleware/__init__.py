"""The layers around every request, pure ASGI, from the outside in: CORS, request id, unexpected errors, body limit,
user context, owner, database sync."""
