"""What is made of a page's HTML: formulas between dollars become MathML, names of ours lead to the reference.

Browsers show MathML without a script or a font of ours.
"""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', flags=re.S)
NAME = re.compile(r"(?<!<pre>)(<code[^>]*>)(geomdml(?:\.\w+)+)(</code>)(?![^<]*</a>)")


def on_page_content(content: str, **_: object) -> str:
    content = FORMULA.sub(lambda found: formula(found[2], display="block" if found[1] == "div" else "inline"), content)
    return NAME.sub(r'<autoref identifier="\2" optional>\1\2\3</autoref>', content)


def formula(latex: str, *, display: str) -> str:
    return convert(html.unescape(latex).strip(), display=display)
