"""What the reference shows of a docstring: examples as code, and no attribute that is the class's own business."""

import re
from typing import Any

from griffe import Class, Extension, Object

EXAMPLE = re.compile(r"^>>> .*?(?=^\s*$|\Z)", flags=re.M | re.S)


class Docstrings(Extension):
    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(r"```pycon\n\g<0>\n```", obj.docstring.value)

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        for name, attribute in list(cls.attributes.items()):
            if not attribute.docstring and attribute.annotation is None:
                cls.del_member(name)
