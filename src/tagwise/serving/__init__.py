"""A local server: a page that explains how detections are grouped, and a JSON API beside it.

`server.py` runs it, `app.py` lists the addresses. `program.py` is for programs (`POST /predict`),
`explorer.py` for the page in `static/`, whose images stay in `sessions.py` as maps in memory.

Imports `data`, `errors`, `geometry`, `grouping`, `plot`, `prediction`, `results`,
`settings` and `tasks`.
"""
