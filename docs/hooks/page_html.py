"""What is made of a page's HTML: formulas become MathML, names of ours and pages that docstrings name become links.

Browsers show MathML without a script or a font of ours.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', flags=re.S)
PAGE = re.compile(r"docs/((?:guides|reports)/[\w-]+)\.md")
NAME = re.compile(r"(?<!<pre>)(<code[^>]*>)(geomdml(?:\.\w+)+)(</code>)(?![^<]*</a>)")


def on_page_content(content: str, *, page: Any, **_: object) -> str:
    content = FORMULA.sub(lambda found: formula(found[2], display="block" if found[1] == "div" else "inline"), content)
    if page.file.src_uri.startswith("reference/"):  # as docstrings name our pages
        content = PAGE.sub(r'<a href="../\1.html">\1</a>', content)
    return NAME.sub(r'<autoref identifier="\2" optional>\1\2\3</autoref>', content)


def formula(latex: str, *, display: str) -> str:
    return convert(html.unescape(latex).strip(), display=display)
