"""What a run needs of its device's memory, known before anything is loaded.

    model.py        the tensors of a model, from safetensors headers and config.json: no weights, no torch
    weights.py      their bytes in a dtype or in bitsandbytes' 4 and 8 bits
    adapter.py      the tensors that LoRA and DoRA add
    workload.py     everything that the estimate depends on
    settings.py     the recipe and run.yaml -> Workload
    optimizer.py    bytes of optimizer states
    activations.py  what a forward pass keeps for the backward pass
    head.py         what the LM head and the loss need
    estimate.py     Workload -> Estimate: the parts, and the peak over the moments of a step
    changes.py      the cheapest change of the spec that fits
    device.py       what this machine has
    check.py        the comparison, made before a run loads
    command.py      `python -m alignment_trainer estimate`

docs/memory.md says how the estimate is made, what it leaves out and how far it is from measurements.
"""
