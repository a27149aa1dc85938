"""What a net is: the spec, the zoo, the trainable module and the folded deploy graph.

>>> from mnistkit import nets
>>> nets.names()[:3]
('base', 'small', 'nano')
>>> nets.get("nano").params
2454
"""

from mnistkit.nets.zoo import get, names

__all__ = ["get", "names"]
