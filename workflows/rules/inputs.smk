# What the steps of cells read, by the names that their rules give it.
WEIGHT_FILES = expand(
    f"{WEIGHTS}/{{network}}.{{kind}}", network=NETWORKS, kind=["safetensors", "json"]
)
MODEL = ("train.json", "model.safetensors")


@functools.cache
def needed_for(dataset):
    """What is to be made of a dataset's cells, known once it and the weights are prepared."""
    if dataset not in RUN.unsure:
        return RUN.needed
    if dataset in RUN.prepared_now:
        checkpoints.prepare.get(dataset=dataset)
    if RUN.new_weights:
        checkpoints.weights.get()
    return RUN.needed_now()


def unless_finished(files, kind="evaluate"):
    """The inputs of a job on a cell, which has none if its record turns out to fit after all.

    files: a function of a cell, to names and files. kind: a field of ToMake.
    """

    def inputs(wildcards):
        cell = cell_of(wildcards)
        # Known to be made, or else asked once it is known what the record is held against.
        if cell.id not in getattr(RUN.needed, kind):
            if cell.id not in getattr(needed_for(cell.dataset), kind):
                return {}
        return {**files(cell), "due": due(f"{BUDGET}/{cell.id}", True)}

    return inputs


def cell_files(cell, *names):
    """Files of a cell's folder; none of no cell."""
    return [f"{RESULTS}/cells/{cell}/{name}" for name in names] if cell else []


def first_stage_files(cell):
    """What of a cell's first stage the cell is trained on; nothing of a model of pixels."""
    return cell_files(cell.first_stage, *MODEL, first_stage_file(cell.knobs))


def training_files(cell):
    """What trains an autoencoder; VQGAN's perceptual distance is a metric network."""
    return {
        "data": prepared(cell.dataset),
        "weights": WEIGHT_FILES if cell.knobs.network == "vqgan" else [],
        "checked": rules.check.output,
    }


def quantiser_files(cell):
    """What trains a quantiser alone."""
    return {
        "data": prepared(cell.dataset),
        "stage1": first_stage_files(cell),
        "checked": rules.check.output,
    }


def evaluation_files(cell):
    """What measures an autoencoder."""
    return {
        "trained": cell_files(cell.id, *MODEL),
        "data": prepared(cell.dataset),
        "references": RUN.references_of(cell.id),
        "weights": WEIGHT_FILES,
    }


def latent_files(wildcards):
    """What makes the latents or codes of a first stage."""
    cell, kind = cell_of(wildcards), wildcards.kind
    now = f"{cell.id}/{kind}.safetensors" in needed_for(cell.dataset).latents
    return {
        "trained": cell_files(cell.id, *MODEL),
        "data": prepared(cell.dataset),
        "due": due(f"{BUDGET}/{cell.id}.{kind}", now),
    }


def generator_files(cell):
    """What trains a generative model."""
    return {
        "data": prepared(cell.dataset),
        "stage1": first_stage_files(cell),
        "checked": rules.check.output,
    }


def sampling_files(cell):
    """What samples a generative model, and says how likely codes are."""
    return {
        "data": prepared(cell.dataset),
        "trained": cell_files(cell.id, *MODEL, "progress.safetensors"),
        "stage1": first_stage_files(cell),
    }


def sample_files(cell):
    """What measures a generative model's samples."""
    names = ["sampling.json", "samples.npy", "progress.npy", "noise.npy"]
    return {**evaluation_files(cell), "trained": cell_files(cell.id, *names)}


def evaluation_of(wildcards):
    """What an evaluation is told, as JSON."""
    return PLAN.cells[wildcards.cell].evaluation.model_dump_json()


def spec_of(wildcards):
    """What a training is told, as JSON."""
    return PLAN.spec(wildcards.cell).model_dump_json()


def stage1_of(wildcards):
    """Options of a step that name a cell's first stage; empty if it has none."""
    cell = cell_of(wildcards)
    if not cell.first_stage:
        return ""
    folder = f"{RESULTS}/cells/{cell.first_stage}"
    return f"--stage1 {folder} --latents {folder}/{first_stage_file(cell.knobs)}"


@or_refuse
def refuse(wildcards):
    """Nothing makes this file: say why, and what to do."""
    raise WorkflowError(RUN.refusal(wildcards.file))
