"""Templates fill in values, stay inside their bounds, and never keep a page from going out."""

from __future__ import annotations

import time

import pytest

from detector.adapters.template import MAX_TEMPLATE_CHARACTERS, TemplateRenderer

VALUES = {"service": "checkout", "error_rate": 0.0123, "labels": {"env": "prod", "zone": "a"}, "many": list(range(100_000))}


class Failures(list[tuple[str, str]]):
    """What the renderer reported."""

    def take(self, template: str, reason: str) -> None:
        """The callback."""
        self.append((template, reason))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ service }} fails {{ error_rate | percent }} of its requests", "checkout fails 1.23% of its requests"),
        (
            "{{ 5400 | duration }} {{ 0.5 | number }} {{ 1234567 | humanize }} {{ 0 | time }}",
            "1h30m 0.5 1.235M 1970-01-01 00:00:00 UTC",
        ),
        ("{% for name, value in labels.items() %}{{ name }}={{ value }} {% endfor %}", "env=prod zone=a "),
        ("{% if labels.env == 'prod' %}PROD{% else %}test{% endif %} {{ service | upper }}", "PROD CHECKOUT"),
        ("{{ labels.team | default('nobody') }}", "nobody"),
        ("{{ (error_rate * 100) | round(1) }} <b>&</b>", "1.2 <b>&</b>"),
        ("plain", "plain"),
    ],
)
def test_templates_render(template: str, text: str) -> None:
    """What a rule's text needs is there, and plain text is not escaped as HTML."""
    failures = Failures()
    renderer = TemplateRenderer(failures.take)
    assert (renderer.find_fault(template), renderer.render(template, VALUES), failures) == (None, text, [])


@pytest.mark.parametrize(
    "template",
    [
        "{{ nothing }}",
        "{{ error_rate | nonsense }}",
        "{{ service / 2 }}",
        "{{ 1 / 0 }}",
        "{{ unclosed",
        "{% for %}",
        "{{ ''.__class__.__mro__ }}",
        "{{ service.format(service) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 'x' * 1000000000 }}",
        "{{ 10 ** 1000000000 }}",
        "{{ 'x' | center(1000000000) }}",
        "{{ range(10) }}",
        "{{ service | replace('', service) }}",
        "{% set x = 1 %}{{ x }}",
        "{% macro m() %}x{% endmacro %}{{ m() }}",
        "{% include 'x' %}",
        "{% for a in many %}{% for b in many %}{% for c in many %}x{% endfor %}{% endfor %}{% endfor %}",
        "{{ " + "(" * 600 + "1" + ")" * 600 + " }}",
        "{{ 'a' * 10**9 }}",
        "{{ service | list | join('" + "x" * 1500 + "') | list | join('" + "y" * 1500 + "') }}",
        "{% for a in [" + "service ~ " * 200 + "''] %}{% for b in [" + "a ~ " * 200 + "''] %}{{ b }}{% endfor %}{% endfor %}",
        "{% for a in [" + "service + " * 200 + "''] %}{% for b in [" + "a + " * 200 + "''] %}{{ b }}{% endfor %}{% endfor %}",
        "{{ 1.5 | round(100000000, 'ceil') }}",
        "{{ many + many }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum.__globals__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ service | attr('__class__') }}",
        "{{ [service] | map('attr', '__class__') | list }}",
        "{{ [service] | map(attribute='__class__.__mro__') | list | join('') }}",
        "{{ service.split.__self__.__class__ }}",
        "{{ labels.get.__self__.__class__ }}",
        "{{ service['__class__'] }}",
        "{{ service | format(1) }}",
        "{{ '{0.__class__}'.format(service) }}",
        "{{ service.format_map(labels) }}",
        "{{ labels.update({'a': 1}) }}",
        "{{ labels.pop('env') }}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% call service() %}{% endcall %}",
        "{% for a in many recursive %}{{ loop(many) }}{% endfor %}",
        "{{ url_for.__globals__ }}",
        "{% with a = 1 %}{{ a }}{% endwith %}",
    ],
)
def test_a_template_that_fails_comes_back_raw_and_is_counted(template: str) -> None:
    """Faults, escapes from the sandbox and bombs all end the same way: the raw text, once reported, within a moment."""
    failures = Failures()
    started = time.process_time()  # what it costs; how long that takes is the machine's affair
    assert TemplateRenderer(failures.take).render(template, VALUES) == template
    assert [failed for failed, _ in failures] == [template]
    assert time.process_time() - started < 2.0


def test_loops_and_lengths_are_bounded() -> None:
    """A loop ends after 100 turns, the text at its cap, and an over-long template is refused."""
    renderer = TemplateRenderer(max_characters=50)
    assert TemplateRenderer().render("{% for each in many %}x{% endfor %}", VALUES) == "x" * 100
    assert renderer.render("{% for a in many %}{{ a }}{% for b in many %}y{% endfor %}{% endfor %}", VALUES) == "0" + "y" * 49
    assert renderer.render("a" * (MAX_TEMPLATE_CHARACTERS + 1), {}) == "a" * 50
    fault = renderer.find_fault("a" * (MAX_TEMPLATE_CHARACTERS + 1))
    assert fault is not None
    assert fault.message == "the template is longer than 4000 characters"


def test_values_are_never_templates() -> None:
    """`{{ 7*7 }}` in a label stays as it is, also inside a loop."""
    hostile = "{{ 7*7 }}{% for x in range(9) %}<!channel>"
    values = {"service": hostile, "labels": {"a": hostile}}
    text = TemplateRenderer().render("{{ service }}|{% for value in labels.values() %}{{ value }}{% endfor %}", values)
    assert text == f"{hostile}|{hostile}"


def test_a_fault_names_its_line() -> None:
    """The check at load can point into the rule file."""
    renderer = TemplateRenderer()
    fault = renderer.find_fault("one\n{{ two | nonsense }}")
    assert fault is not None
    assert (fault.line, fault.message) == (2, "No filter named 'nonsense'.")
    assert renderer.find_names("{{ service }} {% for a in labels %}{{ a }}{% endfor %}") == {"service", "labels"}


def test_templates_are_compiled_once() -> None:
    """Rendering the same template again is far cheaper than compiling it."""
    renderer = TemplateRenderer()
    renderer.render("{{ service }}", VALUES)
    (compiled,) = renderer._compiled.values()
    renderer.render("{{ service }}", {"service": "other"})
    assert list(renderer._compiled.values()) == [compiled]
