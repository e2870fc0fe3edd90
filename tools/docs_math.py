"""Formulas of the site: plain formulas of docstrings as LaTeX, and LaTeX as MathML.

A docstring has formulas as plain text, which a terminal shows as they are. The site shows them as
mathematics. Browsers draw MathML without a script, so a page loads nothing from other hosts.
"""

import html
import re

UPRIGHT = (
    *("apply_rope", "bias", "body", "candidate", "carry", "cell", "conv", "dilation", "dlog_h"),
    *("dropout", "embed", "first", "forget", "head", "input", "kernel", "kernel_size", "log_rate"),
    *("logaddexp", "mean", "mlp", "norm", "project", "rates", "readout", "relu", "scale", "second"),
    *("share", "silu", "skip", "softplus", "update", "window"),
)
"""Names that are shown in upright letters."""

WORDS = {
    **dict.fromkeys(UPRIGHT, r"\text{%s}"),
    **dict.fromkeys(("tanh", "exp", "max", "min"), r"\%s "),
    **{
        "log": r"\log\, ",
        "sigmoid": r"\sigma ",
        "dt": r"\Delta ",
        "W_delta": r"W_\Delta ",
        "b_delta": r"b_\Delta ",
    },
}
"""Words of formulas in LaTeX, with `%s` for the word."""

ENGLISH = re.compile(r"a[mnst]|b[ey]|do|i[fnst]|o[fnr]|[hmw]e|so|to|up|we")
SYMBOL = re.compile(r"([A-Za-z])(?:([a-z])|_([a-z]{1,2}))?")
TOKEN = re.compile(r"[A-Za-z_]\w*|\d+(?:\.\d+)?|\*\*|->|<=|>=|\.\.\.|\s\.\s|\s{2,}|\s|.")
OPERATORS = {
    **{"*": r"\odot ", "<=": r"\le ", ">=": r"\ge ", "->": r"\to ", "...": r"\cdots "},
    **{" . ": r" \cdot ", "**": "^"},
}
PLAIN = set("=+-/()[]{},;|'<>")
SUM = re.compile(r"\b(sum|softmax) over (\w+(?: < \w+)?) of ")
INDEXED = re.compile(r"(\w+)\[([^\[\]]*)\]")
FRACTION = re.compile(r"(\w(?:\0\d+\0)?) / \(([^()]*)\)")
ROOT = re.compile(r"sqrt\(((?:[^()]|\([^()]*\))*)\)")
POWER_OF_10 = re.compile(r"\b1e(-?\d+)")
EQUATION = re.compile(r"[^=]*[^=<>!]= .*")
MATH = re.compile(r'<(span|div) class="arithmatex">\\([\[(])(.*?)\\[\])]</\1>', flags=re.DOTALL)


class NotAFormulaError(ValueError):
    """A text contains words that formulas do not have."""


def latex(formula: str) -> str:
    r"""Returns a plain formula as LaTeX.

    Raises:
      NotAFormulaError: a word is neither a symbol nor in `WORDS`.

    >>> latex("h[t] = a[t] * h[t-1] + b[t]")
    'h_{t} = a_{t} \\odot  h_{t-1} + b_{t}'
    >>> latex("z[t] = sigmoid(x[t] Wz + bz)")
    'z_{t} = \\sigma (x_{t} W_{z} + b_{z})'
    """
    kept: list[str] = []
    found = _convert(formula, kept)
    while "\0" in found:
        found = re.sub(r"\0(\d+)\0", lambda m: kept[int(m[1])], found)
    return found


def _convert(text: str, kept: list[str]) -> str:
    """Returns LaTeX in which finished parts are `\\0N\\0`, with N their index in `kept`."""

    def keep(part: str) -> str:
        kept.append(part)
        return f"\0{len(kept) - 1}\0"

    def large(match: re.Match) -> str:
        name = r"\sum" if match[1] == "sum" else r"\mathrm{softmax}"
        return keep(f"{name}_{{{_convert(match[2], kept)}}} ")

    def fraction(match: re.Match) -> str:
        return keep(rf"\frac{{{_convert(match[1], kept)}}}{{{_convert(match[2], kept)}}}")

    text = SUM.sub(large, text)
    text = POWER_OF_10.sub(lambda m: keep(f"10^{{{m[1]}}}"), text)
    text = ROOT.sub(lambda m: keep(rf"\sqrt{{{_convert(m[1], kept)}}}"), text)
    while INDEXED.search(text):
        text = INDEXED.sub(lambda m: m[1] + keep(f"_{{{_convert(m[2], kept)}}}"), text)
    text = FRACTION.sub(fraction, text)
    parts = re.split(r"(\0\d+\0)", text)
    return "".join(p if p.startswith("\0") else _tokens(p) for p in parts)


def _tokens(text: str) -> str:
    found = "".join(map(_token, TOKEN.findall(text)))
    return re.sub(r"(?<=}) (?=[A-Za-z])", r"\\,", found)


def _token(token: str) -> str:
    if token in OPERATORS:
        return OPERATORS[token]
    if token in WORDS:
        return WORDS[token].replace("%s", token)
    if (match := SYMBOL.fullmatch(token)) and not ENGLISH.fullmatch(token):
        below = match[2] or match[3]
        if match[1] == "d" and match[2]:
            return rf"\mathrm{{d}}{match[2]}"
        return f"{match[1]}_{{{below}}}" if below else match[1]
    if token.isspace():
        return r" \qquad " if len(token) > 1 else " "
    if token in PLAIN or re.fullmatch(r"\d.*", token):
        return token
    raise NotAFormulaError(token)


def display(lines: list[str]) -> str:
    """Returns equations as one display in LaTeX, aligned at their first relation.

    Raises:
      NotAFormulaError: a line is not an equation.
    """
    rows = []
    for line in lines:
        if not EQUATION.fullmatch(line):
            raise NotAFormulaError(line)
        left, _, right = line.partition("=")
        rows.append(rf"{latex(left.strip())} & {{}}= {latex(right.strip())}")
    return r"\begin{array}{rl} " + r" \\ ".join(rows) + r" \end{array}"


def inline(span: str) -> str:
    """Returns the text of a span of code as inline LaTeX if it is an equation in t.

    >>> inline("h[t] = a[t]"), inline("carry, y = cell.step(carry, x)")
    ('$h_{t} = a_{t}$', '`carry, y = cell.step(carry, x)`')
    """
    if re.search(r"\[[^\]]*\bt\b[^\]]*\]", span) and EQUATION.fullmatch(span):
        try:
            return f"${latex(span)}$"
        except NotAFormulaError:
            pass
    return f"`{span}`"


def mathml(page: str) -> str:
    """Replaces the LaTeX in the HTML of a page, as pymdownx.arithmatex marks it, by MathML."""
    from latex2mathml.converter import convert  # a package of the extra `docs`

    def replace(match: re.Match) -> str:
        source = html.unescape(match[3]).strip()
        for environment in ("aligned", "align", "align*"):  # the converter has arrays only
            source = source.replace(rf"\begin{{{environment}}}", r"\begin{array}{rl}")
            source = source.replace(rf"\end{{{environment}}}", r"\end{array}")
        formula = convert(source)
        if "<mi>&</mi>" in formula or "<mi>\\" in formula:
            raise ValueError(f"formula must use commands that latex2mathml has, got: {source}")
        if match[2] == "(":
            return formula
        formula = formula.replace("<math ", '<math displaystyle="true" ', 1)
        return f'<div class="formula">{formula}</div>'

    return MATH.sub(replace, page)
