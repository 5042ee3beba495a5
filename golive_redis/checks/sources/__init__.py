"""Where facts come from: one module for each kind of source, each with one function, `fetch`.

A source returns a value or raises within its deadline; it judges nothing. It is imported when a check
names it, so that an unused one costs nothing.
"""
