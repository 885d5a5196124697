# What the steps of cells read, by the names that their rules give it.


def training_files(wildcards):
    """What trains an autoencoder; VQGAN's perceptual distance is a metric network."""
    return {
        "data": dataset_of(wildcards),
        "weights": weight_files() if larger(wildcards) else [],
        "checked": rules.check.output,
    }


def evaluation_files(wildcards):
    """What measures an autoencoder."""
    return {
        "train": f"{folder_of(wildcards)}/train.json",
        "model": f"{folder_of(wildcards)}/model.safetensors",
        "data": dataset_of(wildcards),
        "references": references_of(wildcards),
        "weights": weight_files(),
    }


def latent_files(wildcards):
    """What makes the latents of a first stage."""
    return {
        "train": f"{folder_of(wildcards)}/train.json",
        "model": f"{folder_of(wildcards)}/model.safetensors",
        "data": dataset_of(wildcards),
        "due": due_cell(wildcards),
    }


def diffusion_files(wildcards):
    """What trains a diffusion model."""
    return {
        "data": dataset_of(wildcards),
        "latents": latents_of(wildcards),
        "checked": rules.check.output,
    }


def sampling_files(wildcards):
    """What samples a diffusion model."""
    names = ["train.json", "model.safetensors", "progress.safetensors"]
    return {
        "trained": [f"{folder_of(wildcards)}/{name}" for name in names],
        "latents": latents_of(wildcards),
        "stage1": first_stage_files(wildcards),
    }


def sample_files(wildcards):
    """What measures a diffusion model's samples."""
    names = ["sampling.json", "samples.npy", "progress.npy", "noise.npy"]
    return {
        "samples": [f"{folder_of(wildcards)}/{name}" for name in names],
        "data": dataset_of(wildcards),
        "reference": training_reference_of(wildcards),
        "weights": weight_files(),
    }
