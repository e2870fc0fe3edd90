"""Writes what the cells of the package minGRU-pytorch compute, with random weights, as a table.

    pip install minGRU-pytorch==0.2.1
    python tests/interop/mingru_package.py > tests/data/interop/mingru_pytorch.jsonl

Weights and inputs are multiples of 1/64, exact in float32; results are in float64. The first half
of a sequence is computed in parallel, the second half step by step from the state of the first.
"""

import json
from importlib.metadata import version

BATCH, TIME, DIM = 2, 8, 4


def main():
    import torch
    from minGRU_pytorch.minGRU import minGRU
    from minGRU_pytorch.minLSTM import minLSTM

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    versions = {"minGRU-pytorch": version("minGRU-pytorch"), "torch": torch.__version__}
    print(json.dumps({**versions, "command": __doc__.split("\n\n")[1].strip().splitlines()[1]}))

    def draw(*shape):
        return torch.randint(-64, 65, shape) / 64

    for make in (minGRU, minLSTM):
        for expansion in (1.0, 1.5):
            cell = make(DIM, expansion_factor=expansion)
            with torch.no_grad():
                for weight in cell.parameters():
                    weight.copy_(2 * draw(*weight.shape))
                inputs = 2 * draw(BATCH, TIME, DIM)
                half = TIME // 2
                first, state = cell(inputs[:, :half], return_next_prev_hidden=True)
                outputs, states = [first], [state]
                for t in range(half, TIME):
                    y, state = cell(inputs[:, t : t + 1], state, return_next_prev_hidden=True)
                    outputs.append(y)
                states.append(state)
            print(
                json.dumps(
                    {
                        "name": make.__name__,
                        "weights": {k: v.tolist() for k, v in cell.state_dict().items()},
                        "inputs": inputs.tolist(),
                        "outputs": torch.cat(outputs, 1).tolist(),
                        "states": [s[:, 0].tolist() for s in states],
                    }
                )
            )


if __name__ == "__main__":
    main()
