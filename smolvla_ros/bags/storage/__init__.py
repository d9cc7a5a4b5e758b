"""The files of a bag: which ones there are, and how an mcap and a sqlite3 file give their messages in blocks."""
