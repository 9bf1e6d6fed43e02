"""Projects: a reel as an ordered list of clips and how it should look."""
