"""The dashboard: pages, event stream, /metrics and /healthz, read only, on a socket systemd opened.

    process   the unit's process: socket, watchdog, uvicorn
    app       routes, and who may ask what
    watcher   one reader of ledgers and Redis for all clients
    stream    server-sent events of one page: the parts of it that changed
    pages     what each page is made of, from a look at the system
    charts    curves as SVG, numbers as text: nothing is drawn in the browser
    metrics   the same look as OpenMetrics

A page is complete without scripts; with one it is kept up to date in place. Nothing it needs lies outside this package,
and nothing in it changes anything.
"""
