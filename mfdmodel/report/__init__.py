"""Tables and figures of a run, gathered on one HTML page that opens offline.

run folder ──> content ──┐
truth ──> probes ────────┴──> page (figures, page.html, style.css) ──> write: RUN/report.html
"""
