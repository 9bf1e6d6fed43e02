"""The edge: TLS, HTTP/1.1, HTTP/2 and WebSocket in front of the Machines, as Fly Proxy is."""
