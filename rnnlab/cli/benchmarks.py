"""The benchmarks of the command line by name, whose modules are imported when one is named."""

SPEEDUP = (
    "rnnlab.bench.speedup:SpeedupBenchmark",
    "Compare the training speed of all cells with torch, flax and a Python loop.",
)
BENCHMARKS = {
    "scan": (
        "rnnlab.bench.scan:ScanBenchmark",
        "Linear scans compared with the memory bandwidth.",
    ),
    "layer": (
        "rnnlab.bench.layer:LayerBenchmark",
        "Minimal cells compared with their matmuls.",
    ),
    "libraries": (
        "rnnlab.bench.libraries:LibrariesBenchmark",
        "Training steps of other libraries' cells.",
    ),
    "scaling": (
        "rnnlab.bench.scaling:ScalingBenchmark",
        "Cost of a layer by length, batch size and width.",
    ),
    "streaming": (
        "rnnlab.bench.streaming:StreamingBenchmark",
        "Time and memory of one time step.",
    ),
    "serving": (
        "rnnlab.bench.serving:ServingBenchmark",
        "Tokens per second and gaps of rnnlab serve.",
    ),
    "serving-churn": (
        "rnnlab.bench.serving_churn:ServingChurnBenchmark",
        "Streams that start and end all the time on rnnlab serve.",
    ),
    "newton": (
        "rnnlab.bench.newton_convergence:NewtonBenchmark",
        "Convergence of Newton's iteration.",
    ),
    "malloc": (
        "rnnlab.bench.malloc:MallocBenchmark",
        "Training steps by setting of glibc's malloc.",
    ),
    "accuracy": (
        "rnnlab.bench.accuracy:AccuracyBenchmark",
        "Errors of the scan's forms by sequence length.",
    ),
    "language-model": (
        "rnnlab.bench.language_model:LanguageModelBenchmark",
        "Training step of a language model compared with torch.",
    ),
    "export": (
        "rnnlab.bench.export:ExportBenchmark",
        "One time step in ONNX Runtime compared with JAX's.",
    ),
}
"""The class of each benchmark's options, as `module:class`, and its summary, by subcommand."""

ALIASES = {
    "allocator": "malloc",
    "growth": "scaling",
    "lm": "language-model",
    "peers": "libraries",
}
"""Earlier names of benchmarks, which the `command` of committed records contains."""
