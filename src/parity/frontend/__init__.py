"""The page's host: static files as Cloudflare Pages serves a single-page application."""
