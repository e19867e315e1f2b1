"""OpenNebula's template: an ordered multi-map of attributes, as text or as XML.

The same grammar is used for objects (``one.*.allocate`` and ``update``), for oned.conf and by
the command lines. An attribute is a plain value or a *vector* of named values; a name may occur
more than once. Nothing here does I/O, and nothing parsed here can yield malformed XML later:
``]]>`` and characters that XML cannot hold are refused on the way in.
"""

from oned.template.attributes import Attribute, Value, Vector
from oned.template.model import Template

__all__ = ["Attribute", "Template", "Value", "Vector"]
