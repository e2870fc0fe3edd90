"""Examples of the site are copied without prompts and outputs."""

import docs_examples

PAGE = """Text.

```python
>>> for k in range(2):
...     print(k < 1, "a")
True a
False a
>>> 1 / 0
Traceback (most recent call last):
ZeroDivisionError: division by zero

```

```python
plain = 1
```
"""


def test_session_on_a_page_is_copied_as_code():
    marked = docs_examples.mark_sessions(PAGE)
    assert marked.count("```pycon\n>>> for") == marked.count("```python\nplain") == 1
    session = marked.split("```pycon\n")[1].split("```")[0]
    block = session.replace(">", "&gt;").replace("<", "&lt;")
    rendered = docs_examples.add_copied_code(
        f'<div class="language-pycon highlight"><pre><code>{block}</code></pre></div>'
    )
    code = "for k in range(2):\n    print(k &lt; 1, &quot;a&quot;)\n\n1 / 0"
    assert rendered.startswith(f'<div class="language-pycon highlight" data-copy="{code}"><pre>')
