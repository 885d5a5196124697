# What the steps of cells read, by the names that their rules give it.
WEIGHT_FILES = expand(
    f"{WEIGHTS}/{{network}}.{{kind}}", network=NETWORKS, kind=["safetensors", "json"]
)


def cell_files(cell, *names):
    """Files of a cell's folder; none of no cell."""
    return [f"{RESULTS}/cells/{cell}/{name}" for name in names] if cell else []


@functools.cache
def needed_for(dataset):
    """What is to be made of a dataset's cells, known once it and the weights are prepared."""
    if dataset in RUN.unsure:
        checkpoints.prepare.get(dataset=dataset)
    if RUN.new_weights:
        checkpoints.weights.get()
    unsure = RUN.new_weights or dataset in RUN.unsure
    return RUN.needed_now() if unsure else RUN.needed


def unless_finished(files, kind="evaluate"):
    """The inputs of a job on a cell, which has none if its record turns out to fit after all.

    files: a function of wildcards, to names and files. kind: "train" or "evaluate".
    """

    def inputs(wildcards):
        cell = cell_of(wildcards)
        # Known to be made, or else asked once it is known what the record is held against.
        if cell.id not in getattr(RUN.needed, kind):
            if cell.id not in getattr(needed_for(cell.dataset), kind):
                return {}
        return {**files(wildcards), "due": due(f"{BUDGET}/{cell.id}", True)}

    return inputs


def training_files(wildcards):
    """What trains an autoencoder; VQGAN's perceptual distance is a metric network."""
    cell = cell_of(wildcards)
    return {
        "data": prepared(cell.dataset),
        "weights": WEIGHT_FILES if cell.knobs.network == "vqgan" else [],
        "checked": rules.check.output,
    }


def evaluation_files(wildcards):
    """What measures an autoencoder."""
    cell = cell_of(wildcards)
    return {
        "trained": cell_files(cell.id, "train.json", "model.safetensors"),
        "data": prepared(cell.dataset),
        "references": RUN.references_of(cell.id),
        "weights": WEIGHT_FILES,
    }


def latent_files(wildcards):
    """What makes the latents of a first stage."""
    cell = cell_of(wildcards)
    return {
        "trained": cell_files(cell.id, "train.json", "model.safetensors"),
        "data": prepared(cell.dataset),
        "due": due(f"{BUDGET}/{cell.id}", True),
    }


def diffusion_files(wildcards):
    """What trains a diffusion model."""
    cell = cell_of(wildcards)
    return {
        "data": prepared(cell.dataset),
        "latents": cell_files(cell.first_stage, "latents.safetensors"),
        "checked": rules.check.output,
    }


def sampling_files(wildcards):
    """What samples a diffusion model."""
    cell = cell_of(wildcards)
    names = ["train.json", "model.safetensors", "progress.safetensors"]
    stage1 = ["latents.safetensors", "train.json", "model.safetensors"]
    return {
        "trained": cell_files(cell.id, *names),
        "stage1": cell_files(cell.first_stage, *stage1),
    }


def sample_files(wildcards):
    """What measures a diffusion model's samples."""
    cell = cell_of(wildcards)
    names = ["sampling.json", "samples.npy", "progress.npy", "noise.npy"]
    return {
        "samples": cell_files(cell.id, *names),
        "data": prepared(cell.dataset),
        "references": RUN.references_of(cell.id),
        "weights": WEIGHT_FILES,
    }


def refused(wildcards):
    """Nothing can make a file of this cell: says why, and which names are near."""
    cell = cell_of(wildcards)
    if cell.dataset in RUN.absent:
        raise WorkflowError(
            f"{cell.id}: dataset '{cell.dataset}': {RUN.absent[cell.dataset]}"
        )
    raise WorkflowError(
        f"{cell.id}: finished, and {wildcards.file} is not published with records; "
        f"train it again with --config budget={BUDGET} retrain={cell.id}"
    )
