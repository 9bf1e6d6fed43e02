"""The edge, which stands for Fly Proxy: TLS, HTTP/1.1, HTTP/2 and WebSocket in front of the Machines."""
