"""The two commands: options become one library call, its result a line, a table or JSON."""
