"""Gradients of proxies of which a step takes a part."""

import torch

from apps.chest_vit.own_proxies import clip_gradients
from geomdml.losses import SoftTripleLoss


def test_gradients_are_clipped_by_the_norm_of_all_of_them():
    loss = SoftTripleLoss(20, 4, sample=0.3)
    dense = torch.nn.Parameter(torch.zeros(3))
    (loss(torch.randn(2, 4), torch.tensor([1, 5])) + 3 * dense.sum()).backward()
    model = torch.nn.ModuleList([loss, torch.nn.ParameterList([dense])])
    before = [parameter.grad.to_dense().clone() for parameter in model.parameters()]
    copies = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in before]
    for copy, gradient in zip(copies, before, strict=True):
        copy.grad = gradient.clone()
    for most in (1e6, 0.5):
        clip_gradients(model, most)
        torch.nn.utils.clip_grad_norm_(copies, most)
        for parameter, copy in zip(model.parameters(), copies, strict=True):
            torch.testing.assert_close(parameter.grad.to_dense(), copy.grad)
