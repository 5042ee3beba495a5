"""Where facts come from: one module for each kind of source, each with one function, `fetch`.

Here belongs how one kind of source is asked: it returns a value or raises within its deadline. What
the value must be does not: that is in `checks.expectation`. A source is imported when a check names
it, so that an unused one costs nothing. Start with `file`.
"""
