"""Interpreters beside the main one, as mod_wsgi makes them."""

from conftest import read_json, run_python

PROGRAM = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

IMPORT = '''
try:
    import durstream
except ImportError as error:
    assert "WSGIApplicationGroup %{GLOBAL}" in str(error), error
else:
    raise AssertionError("it was imported")
'''

def beside():
    another = interpreters.create()
    failure = interpreters.run_string(another, IMPORT)
    assert failure is None, failure
    interpreters.destroy(another)

if sys.argv[2] == "first": beside()
import durstream
stream = durstream.DurableStream.create(sys.argv[1], content_type="application/json")
with durstream.IdempotentProducer(stream, "main") as producer:
    producer.append({"n": 1})
    beside()
    producer.append({"n": 2})
"""


def test_another_interpreter_is_told_and_ends_nothing(url):
    for when in ("first", "later"):
        run_python(PROGRAM, f"{url}-{when}", when)
        assert read_json(f"{url}-{when}") == [{"n": 1}, {"n": 2}]
