"""Mutation testing: faults that the tests must find, one at a time, in a copy of the repository.

    PYTHONPATH=tests python -m mutants [--only NAME,AREA] [--jobs N] [--list]

A mutant is a table in one of the ``*.toml`` files here, named after an area: see
``docs/explanations/testing.md``.
"""
