"""Augmentation of a whole batch at once, on the device that trains."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mnistkit.runs.recipe import Recipe

_SIDE = 28


class Augment:
    """Random affine (and, when asked, elastic) distortion, one draw for each image.

    Each image is rotated, sheared, scaled and shifted in one bilinear resampling; the elastic
    field (Simard et al. 2003) is a coarse random grid, smoothly enlarged. Draws come from
    ``generator`` (on the CPU), so that a seed gives the same batches on every device.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self._recipe = recipe
        self._device = device
        axis = (torch.arange(_SIDE, dtype=torch.float32) * 2 + 1) / _SIDE - 1
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        ones = torch.ones_like(x)
        self._base = torch.stack([x, y, ones], -1).reshape(-1, 3).to(device)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return float ``(N, 1, 28, 28)`` in 0..1 from uint8 ``(N, 1, 28, 28)``."""
        count = images.shape[0]
        theta = self._affine(count, generator).to(self._device)
        grid = (self._base @ theta.transpose(1, 2)).view(count, _SIDE, _SIDE, 2)
        if self._recipe.elastic > 0:
            grid = grid + self._elastic(count, generator)
        scaled = images.to(self._device).float() * (1 / 255)
        return F.grid_sample(scaled, grid, mode="bilinear", align_corners=False)

    def _affine(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw ``(N, 2, 3)`` matrices that map output to input coordinates (both -1..1)."""
        recipe = self._recipe
        draw = torch.rand(6, count, generator=generator) * 2 - 1
        angle = draw[0] * math.radians(recipe.rotation)
        shear = draw[1] * recipe.shear
        sx, sy = 1 + draw[2] * recipe.scale, 1 + draw[3] * recipe.scale
        shift = draw[4:6] * (2 * recipe.shift / _SIDE)
        cos, sin = torch.cos(angle), torch.sin(angle)
        row_x = torch.stack([cos * sx, (cos * shear - sin) * sx, shift[0]], -1)
        row_y = torch.stack([sin * sy, (sin * shear + cos) * sy, shift[1]], -1)
        return torch.stack([row_x, row_y], 1)

    def _elastic(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw smooth displacements ``(N, 28, 28, 2)``, about ``elastic`` pixels in size."""
        coarse = torch.randn(count, 2, 7, 7, generator=generator).to(self._device)
        smooth = F.interpolate(coarse, _SIDE, mode="bicubic", align_corners=False)
        return smooth.permute(0, 2, 3, 1) * (2 * self._recipe.elastic / _SIDE)
