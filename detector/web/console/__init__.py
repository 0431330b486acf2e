"""The console: HTML pages to look at incidents and to act on them. Imported when a page is first asked for."""
