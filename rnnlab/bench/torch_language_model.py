"""The minGRU language model in PyTorch with the paper's log-space scan: same sizes, same update."""

from typing import Any

from rnnlab.bench.timing import TimedProgram
from rnnlab.bench.torch_programs import log_space_cell
from rnnlab.models.config import ModelConfig
from rnnlab.tasks.batch import Batch
from rnnlab.train.config import TrainConfig


def torch_language_model(config: ModelConfig, vocab_size: int) -> Any:
    """`rnnlab.SequenceModel` of minGRU blocks as a `torch.nn.Module`, from ids to logits.

    Blocks of RMS norm, causal depthwise convolution, minGRU in log space and projection, then of
    RMS norm and MLP, each residual: arXiv 2410.01201, appendices B and C.
    """
    import torch
    from torch import nn
    from torch.nn import functional as F

    inner = config.expansion * config.width

    class Conv(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(
                config.width, config.width, config.conv_kernel_size, groups=config.width
            )

        def forward(self, x):
            return self.conv(F.pad(x.transpose(1, 2), (config.conv_kernel_size - 1, 0))).transpose(
                1, 2
            )

    class MinGRU(nn.Module):
        def __init__(self):
            super().__init__()
            self.run = log_space_cell("mingru", config.width, {}, inner)
            self.projections = self.run.projections

        def forward(self, x):
            return self.run(x)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            norm = nn.RMSNorm(config.width, eps=1e-6)
            project = nn.Linear(inner, config.width)
            self.mix = nn.Sequential(norm, Conv(), MinGRU(), project, nn.Dropout(config.dropout))
            self.mlp = nn.Sequential(
                nn.RMSNorm(config.width, eps=1e-6),
                nn.Linear(config.width, config.mlp_expansion * config.width),
                nn.GELU(approximate="tanh"),
                nn.Linear(config.mlp_expansion * config.width, config.width),
                nn.Dropout(config.dropout),
            )

        def forward(self, x):
            x = x + self.mix(x)
            return x + self.mlp(x)

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Embedding(vocab_size, config.width),
        *(Block() for _ in range(config.depth)),
        nn.RMSNorm(config.width, eps=1e-6),
        nn.Linear(config.width, vocab_size),
    )


def torch_train_step(
    config: ModelConfig, settings: TrainConfig, vocab_size: int, batch: Batch
) -> TimedProgram:
    """A training update of the model: cross entropy, gradient clipping, AdamW."""
    import torch
    from torch.nn import functional as F

    model = torch_language_model(config, vocab_size)
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    inputs, targets = (torch.from_numpy(x).long() for x in (batch.inputs, batch.targets))

    def launch() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.grad_clip_norm)
        optimizer.step()

    return TimedProgram(launch)
