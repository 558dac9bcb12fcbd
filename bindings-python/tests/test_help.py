"""What editors, ``help()`` and the reference show: everything is documented, and the examples run."""

import doctest
import inspect
import pydoc

import durstream
import pytest
from durstream import _durstream, testing

PUBLIC = {name: getattr(durstream, name) for name in durstream.__all__} | {
    "Recorder": testing.Recorder
}
CLASSES = [public for public in PUBLIC.values() if inspect.isclass(public)]
TAKES_OPTIONS = {
    "producer": durstream.IdempotentProducer,
    "state": durstream.create_durable_stream,
    "stream": durstream.DurableStream,
}


def members(public):
    """The methods and properties that a class of ours has, but for the language's own."""
    for name in dir(public):
        member = inspect.getattr_static(public, name)
        if name.startswith("_") or name in dir(dict) or name in dir(OSError):
            continue
        if callable(member) or isinstance(member, (property, classmethod, staticmethod)):
            yield name, getattr(public, name)
        elif inspect.isgetsetdescriptor(member):
            yield name, member


@pytest.mark.parametrize("public", PUBLIC.values(), ids=PUBLIC)
def test_everything_public_says_what_it_is(public):
    assert inspect.getdoc(public)
    if inspect.isclass(public):
        without = [name for name, member in members(public) if not inspect.getdoc(member)]
        assert without == []


def test_there_are_members_to_look_at():
    assert {"append", "flush", "stats", "state"} <= dict(members(durstream.IdempotentProducer)).keys()


@pytest.mark.parametrize("scope", TAKES_OPTIONS)
def test_help_lists_the_options(scope):
    shown = pydoc.plain(pydoc.render_doc(TAKES_OPTIONS[scope]))
    options = [row for row in _durstream.options_table() if scope in row[3]]
    assert len(options) > 10
    for name, _, _, _, meaning in options:
        assert f"``{name}``" in shown and meaning[:40] in shown


def test_the_examples_run(url):
    finder, runner = doctest.DocTestFinder(exclude_empty=True), doctest.DocTestRunner()
    for name, public in PUBLIC.items():
        for test in finder.find(public, name, globs={"url": f"{url}-{name}"}):
            runner.run(test)
    assert runner.failures == 0 and runner.tries > 8


def test_the_reference_shows_everything():
    page = pydoc.HTMLDoc().docmodule(durstream)  # as `python -m pydoc -b` does
    for name in durstream.__all__:
        assert f'name="{name}"' in page or f'name="-{name}"' in page, name
    assert "linger_ms" in page and "delivery_timeout_ms" in page
