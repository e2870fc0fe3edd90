"""Formulas of docstrings become mathematics on the site."""

import docs_math
import pytest


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("h[t] = a[t] * h[t-1]", r"h_{t} = a_{t} \odot  h_{t-1}"),
        ("z = sigmoid(x[t] Wz + b_hn)", r"z = \sigma (x_{t} W_{z} + b_{hn})"),
        ("a[t] = f[t] / (f[t] + i[t])", r"a_{t} = \frac{f_{t}}{f_{t} + i_{t}}"),
        ("y = sum over k < kernel_size of x[t-k]",
         r"y = \sum_{k < \text{kernel_size}} x_{t-k}"),
    ],
)  # fmt: skip
def test_latex_of_a_formula_has_subscripts_and_symbols(formula, expected):
    assert docs_math.latex(formula) == expected


def test_display_of_lines_that_are_no_equations_raises():
    with pytest.raises(docs_math.NotAFormulaError):
        docs_math.display(["h[t] = a[t] h[t-1]", "the number of updates"])


@pytest.mark.parametrize("span", ["array[0] = 1", "carry, y = cell.step(carry, x)", "ys[t]"])
def test_span_of_code_stays_code(span):
    assert docs_math.inline(span) == f"`{span}`"


def test_page_with_latex_gets_mathml_and_an_unknown_command_raises():
    pytest.importorskip("latex2mathml")  # a package of the extra `docs`
    page = docs_math.mathml('<p><span class="arithmatex">\\(a &lt; b\\)</span></p>')
    assert "<math" in page
    assert "arithmatex" not in page
    with pytest.raises(ValueError, match=r"commands that latex2mathml has, got: \\foo"):
        docs_math.mathml('<span class="arithmatex">\\(\\foo\\)</span>')
