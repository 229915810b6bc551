"""Downloads: HTTP transfer with resume, archives, and the cache of fetched files."""
