"""The minGRU language model in PyTorch with the paper's log-space scan: same sizes, same update."""

from typing import Any

from rnnlab.bench.timing import Prepared
from rnnlab.bench.torch_programs import log_space_cell
from rnnlab.models.config import ModelConfig
from rnnlab.tasks.batch import Batch
from rnnlab.train.config import TrainConfig


def torch_language_model(architecture: ModelConfig, vocab_size: int) -> Any:
    """`rnnlab.SequenceModel` of minGRU blocks as a `torch.nn.Module`, from ids to logits.

    Blocks of RMS norm, causal depthwise convolution, minGRU in log space and projection, then of
    RMS norm and MLP, each residual: arXiv 2410.01201, appendices B and C.
    """
    import torch
    from torch import nn
    from torch.nn import functional as F

    of = architecture
    inner = of.expansion * of.width

    class Conv(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(of.width, of.width, of.conv_size, groups=of.width)

        def forward(self, x):
            return self.conv(F.pad(x.transpose(1, 2), (of.conv_size - 1, 0))).transpose(1, 2)

    class MinGRU(nn.Module):
        def __init__(self):
            super().__init__()
            self.run = log_space_cell("mingru", of.width, {}, inner)
            self.projections = self.run.projections

        def forward(self, x):
            return self.run(x)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            norm = nn.RMSNorm(of.width, eps=1e-6)
            project = nn.Linear(inner, of.width)
            self.mix = nn.Sequential(norm, Conv(), MinGRU(), project, nn.Dropout(of.dropout))
            self.mlp = nn.Sequential(
                nn.RMSNorm(of.width, eps=1e-6),
                nn.Linear(of.width, of.mlp_expansion * of.width),
                nn.GELU(approximate="tanh"),
                nn.Linear(of.mlp_expansion * of.width, of.width),
                nn.Dropout(of.dropout),
            )

        def forward(self, x):
            x = x + self.mix(x)
            return x + self.mlp(x)

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Embedding(vocab_size, of.width),
        *(Block() for _ in range(of.depth)),
        nn.RMSNorm(of.width, eps=1e-6),
        nn.Linear(of.width, vocab_size),
    )


def torch_train_step(
    architecture: ModelConfig, settings: TrainConfig, vocab_size: int, batch: Batch
) -> Prepared:
    """An update of it: cross entropy, clipping, AdamW. Ready to be timed."""
    import torch
    from torch.nn import functional as F

    model = torch_language_model(architecture, vocab_size)
    rule = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    inputs, targets = (torch.from_numpy(x).long() for x in (batch.inputs, batch.targets))

    def call() -> None:
        rule.zero_grad()
        F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        rule.step()

    return Prepared(call)
