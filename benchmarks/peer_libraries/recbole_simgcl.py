"""SimGCL (Yu et al., 2022) on RecBole's LightGCN, from the paper's equations: RecBole itself has none.

RecBole-GNN, which has one, is not in the package index. As there, the contrastive loss is over all pairs of the batch,
repeated users and items included; here it is a mean over them, as ranking is, so that its weight does not depend on the batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from recbole.model.general_recommender.lightgcn import LightGCN
from torch import Tensor


class SimGCL(LightGCN):
    """LightGCN without hop 0 in the mean, and two views with noise. Settings: weight, noise, temperature."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.weight, self.noise, self.temperature = (config[name] for name in ("weight", "noise", "temperature"))

    def forward(self, noisy: bool = False) -> tuple[Tensor, Tensor]:
        table, hops = self.get_ego_embeddings(), []
        for _ in range(self.n_layers):
            table = torch.sparse.mm(self.norm_adj_matrix, table)
            if noisy:
                table = table + self.noise * table.sign() * F.normalize(torch.rand_like(table), dim=1)
            hops.append(table)
        users, items = torch.stack(hops, dim=1).mean(dim=1).split([self.n_users, self.n_items])
        return users, items

    def calculate_loss(self, interaction: Any) -> Tensor:
        rows = interaction[self.USER_ID], interaction[self.ITEM_ID]
        one, other = self.forward(noisy=True), self.forward(noisy=True)
        loss: Tensor = super().calculate_loss(interaction)
        for first, second, index in zip(one, other, rows, strict=True):
            loss = loss + self.weight * self._contrast(first[index], second[index])
        return loss

    def _contrast(self, first: Tensor, second: Tensor) -> Tensor:
        cosines = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
        return F.cross_entropy(cosines / self.temperature, torch.arange(len(first)))
