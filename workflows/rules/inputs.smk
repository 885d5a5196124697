# The files and settings that the rules of cells hand to their steps.
MODEL = ["train.json", "model.safetensors"]


@in_one_line
def cell_of(wildcards):
    """Return the cell of a rule's wildcards; an unknown id is refused with the nearest ids."""
    return RUN.cell(wildcards.cell)


@in_one_line
def prepared(dataset):
    """Return the files of a prepared dataset; an unknown name is refused with the nearest names."""
    known(dataset, RUN.datasets, "dataset")
    names = ["dataset.json", "train.npy", "test.npy", "labels.npy"]
    return [f"{DATA}/{dataset}/{name}" for name in names]


@in_one_line
def weight_files(wildcards):
    """Return the files of weights in the installed packages; a missing file is refused by name."""
    return [weight_sources.installed(network) for network in weight_sources.SOURCES]


@functools.cache
def needed_after_preparing(dataset):
    """Return what is to be made once the images of a dataset are prepared.

    Until then this raises Snakemake's request to run the checkpoint first.
    """
    checkpoints.prepare.get(dataset=dataset)
    return RUN.needed_now()


def is_needed(kind, dataset, name):
    """Return whether a cell, or a file of latents, is to be made.

    kind: a field of ToMake. dataset: of the cell. name: an element of that field.
    """
    if name in getattr(RUN.needed, kind):
        return True
    undecided = dataset in RUN.undecided
    return undecided and name in getattr(needed_after_preparing(dataset), kind)


def if_needed(kind, files):
    """Return a rule's input function, which names no files if the record of the cell matches.

    kind: the field of ToMake that has the cell. files: a function from a cell to the names and
    files of the inputs.
    """

    def inputs(wildcards):
        cell = cell_of(wildcards)
        if not is_needed(kind, cell.dataset, cell.id):
            return {}
        return {**files(cell), "due": due(f"{BUDGET}/{cell.id}", True)}

    return inputs


def in_folder(cell_id, names):
    """Return files in the folder of a cell."""
    return [f"{RESULTS}/cells/{cell_id}/{name}" for name in names]


def first_stage_files(cell):
    """Return the files of a cell's first stage; none if the cell is trained on pixels."""
    if cell.first_stage is None:
        return []
    return in_folder(cell.first_stage, [*MODEL, first_stage_file(cell.knobs)])


def training_files(cell):
    """Return the inputs of a training."""
    return {
        "data": prepared(cell.dataset),
        "stage1": first_stage_files(cell),
        "checked": rules.check.output,
    }


def latent_files(wildcards):
    """Return the inputs of the rule that encodes the images of a first stage."""
    cell, kind = cell_of(wildcards), wildcards.kind
    now = is_needed("latents", cell.dataset, f"{cell.id}/{kind}.safetensors")
    return {
        "trained": in_folder(cell.id, MODEL),
        "data": prepared(cell.dataset),
        "due": due(f"{BUDGET}/{cell.id}.{kind}", now),
    }


def sampling_files(cell):
    """Return the inputs of sampling. The likelihood of codes is measured on the data."""
    return {
        "data": prepared(cell.dataset),
        "trained": in_folder(cell.id, [*MODEL, "progress.safetensors"]),
        "stage1": first_stage_files(cell),
    }


def evaluation_files(cell):
    """Return the inputs of an evaluation, which measures a model or its samples."""
    samples = ["sampling.json", "samples.npy", "progress.npy", "noise.npy"]
    return {
        "trained": in_folder(cell.id, MODEL if cell.stage == 1 else samples),
        "data": prepared(cell.dataset),
        "references": RUN.references_of(cell.id),
    }


def data_of(wildcards):
    """Return the folder of the prepared dataset of a cell."""
    return f"{DATA}/{cell_of(wildcards).dataset}"


def measuring_options(wildcards):
    """Return the option that tells a step the features to compare with."""
    return f"--reference {' '.join(RUN.references_of(wildcards.cell))}"


def stage1_of(wildcards):
    """Return the options that tell a step the first stage of a cell; empty if there is none."""
    cell = cell_of(wildcards)
    if cell.first_stage is None:
        return ""
    folder = f"{RESULTS}/cells/{cell.first_stage}"
    return f"--stage1 {folder} --latents {folder}/{first_stage_file(cell.knobs)}"
