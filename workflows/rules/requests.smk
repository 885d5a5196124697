# How long each job may take and how much memory it gets, worked out in workflows/requests.py.
# Both grow with every attempt, and clusters alone read them.


def limit(seconds):
    """A rule's `runtime`. seconds: a function of wildcards."""
    return lambda wildcards, attempt: requests.minutes(
        seconds(wildcards), attempt, MOST_MINUTES
    )


def memory(needed):
    """A rule's `mem_mb`. needed: bytes, a function of wildcards."""
    return lambda wildcards, attempt: requests.megabytes(needed(wildcards), attempt)


def images_of(wildcards):
    """How many images of what size a job works on."""
    if hasattr(wildcards, "cell"):
        about = DATASETS[cell_of(wildcards).knobs["dataset"]]
    else:
        about = dataset_asked(wildcards)
    train = about.images["train"] - about.validation
    return requests.Images(train, about.images["test"], about.image_size)


def first_stage_of(wildcards):
    """The knobs of the autoencoder whose latents a model diffuses; None for pixels."""
    first_stage = cell_of(wildcards).first_stage
    return GRID.cells[first_stage].knobs if first_stage else None


def prepare_seconds(wildcards):
    """Finding, decoding and writing every image once."""
    images = images_of(wildcards)
    return (images.train + images.test) * images.side**2 * 1e-6


def train_seconds(wildcards):
    return requests.training_seconds(
        cell_of(wildcards).knobs, images_of(wildcards), PACE
    )


def train_diffusion_seconds(wildcards):
    return requests.diffusion_seconds(
        cell_of(wildcards).knobs,
        first_stage_of(wildcards),
        images_of(wildcards),
        GRID.budget["generation"]["progress_samples"],
        PACE,
    )


def train_bytes(wildcards):
    """Of an autoencoder or of a diffusion model."""
    knobs, side = cell_of(wildcards).knobs, images_of(wildcards).side
    if "first_stage" in knobs:
        side = requests.grid_side(first_stage_of(wildcards), side)
    return requests.training_bytes(knobs, side, PACE)


def evaluate_seconds(wildcards):
    images = images_of(wildcards)
    measured = max(fid_images() or images.test, lpips_images() or images.test)
    return requests.evaluation_seconds(
        cell_of(wildcards).knobs, images, measured, len(protocols_of(wildcards)), PACE
    )


def evaluate_bytes(wildcards):
    """Networks; every test image and its reconstruction, as floats and bytes; features of both."""
    images = images_of(wildcards)
    return 1e9 + images.test * (3 * images.side**2 * 10 + 2 * 4 * 2048)


def reference_seconds(wildcards):
    return (fid_images() or images_of(wildcards).test) / PACE.images


def training_reference_seconds(wildcards):
    return (reference_images() or images_of(wildcards).train) / PACE.images


def latents_seconds(wildcards):
    images = images_of(wildcards)
    each = requests.autoencoder_operations(cell_of(wildcards).knobs, images.side)
    return images.train * each / PACE.operations


def sample_seconds(wildcards):
    return requests.sampling_seconds(
        cell_of(wildcards).knobs,
        first_stage_of(wildcards),
        images_of(wildcards),
        GRID.budget["generation"]["progress_samples"],
        PACE,
    )


def evaluate_samples_seconds(wildcards):
    """Inception over samples and those along the way, and the training images nearest to some."""
    images = images_of(wildcards)
    progress = GRID.budget["generation"]["progress_samples"]
    shown = cell_of(wildcards).knobs["samples"] + 5 * progress
    return shown / PACE.images + images.train * 1e-3


def samples_bytes(wildcards):
    """Networks, samples, what they are compared with: pixels, features and distances of both."""
    images, samples = images_of(wildcards), cell_of(wildcards).knobs["samples"]
    compared = reference_images() or images.train
    pixels = 3 * images.side**2
    return 1e9 + samples * pixels * 8 + (samples + compared) * 2048 * 8
