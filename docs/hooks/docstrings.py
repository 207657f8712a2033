"""What the reference shows of a docstring: examples and the fields of a tuple as code, what is public of a class."""

import re
from typing import Any

from griffe import Class, Docstring, Extension, Object

EXAMPLE = re.compile(r"^>>> .*?(?=^\s*$|\Z)", flags=re.M | re.S)


SHORT = re.compile(r"^(Args|Returns|Raises|Source): (?=\S)", flags=re.M)  # a section that is one sentence
BOUND = re.compile(r"(?<=: )>(?= )")  # "k: > 0" is no quotation


class Docstrings(Extension):
    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            text = EXAMPLE.sub(r"```pycon\n\g<0>\n```", obj.docstring.value)
            obj.docstring.value = BOUND.sub(r"\>", SHORT.sub(r"\n**\1:** ", text))

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """Attributes without a word about them are the class's own business; fields of a tuple are told together."""
        fields = {name: field for name, field in cls.attributes.items() if not field.docstring}
        if "NamedTuple" in map(str, cls.bases):
            lines = "\n".join(f"    {name}: {field.annotation}" for name, field in fields.items() if field.annotation)
            text = cls.docstring.value if cls.docstring else ""
            cls.docstring = Docstring(f"{text}\n\n```python\nclass {cls.name}(NamedTuple):\n{lines}\n```", parent=cls)
        for name, field in fields.items():
            if field.annotation is None or "NamedTuple" in map(str, cls.bases):
                cls.del_member(name)
        for name, method in list(cls.functions.items()):
            if name.startswith("__") and name not in ("__init__", "__call__") and not method.docstring:
                cls.del_member(name)
