"""Tables and figures of a run, gathered on one HTML page that opens offline."""
