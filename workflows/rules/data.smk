# A checkpoint, because which finished cells are of these images is known when they are there, and
# which cells can be made is known when the download has been tried.
checkpoint prepare:
    input:
        due_dataset,
    output:
        # Kept if preparing fails: it says which images the cells here were trained on.
        update(f"{DATA}/{{dataset}}/dataset.json"),
        f"{DATA}/{{dataset}}/train.npy",
        f"{DATA}/{{dataset}}/test.npy",
        f"{DATA}/{{dataset}}/labels.npy",
    log:
        "logs/prepare/{dataset}.log",
    conda:
        "../../environment.yml"
    resources:
        runtime=limit("prepare"),
    params:
        folder=f"{DATA}/{{dataset}}",
    message:
        "Prepare the images of {wildcards.dataset}"
    shell:
        "python -m workflows.steps.prepare --dataset {wildcards.dataset}"
        " --out {params.folder} --note-missing 2>&1 | tee {log}"


checkpoint weights:
    input:
        due(Path(".cache/due/weights"), NEW_WEIGHTS),
    output:
        expand(f"{WEIGHTS}/{{network}}.safetensors", network=NETWORKS),
        # Kept if converting fails: they say by which weights the cells here were measured.
        update(expand(f"{WEIGHTS}/{{network}}.json", network=NETWORKS)),
    log:
        "logs/weights.log",
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output[0], parent=True),
    message:
        "Verify and convert the weights of the metric networks"
    shell:
        "python -m workflows.steps.weights --out {params.folder} 2>&1 | tee {log}"


# Every training waits for this, so that bad data or weights are refused before any has started.
rule check:
    input:
        datasets=lambda wildcards: [
            file for name in datasets_to_train_on() for file in prepared(name)
        ],
        weights=weight_files(),
    output:
        f".cache/checked/{BUDGET}.json",
    log:
        f"logs/{BUDGET}/check.log",
    conda:
        "../../environment.yml"
    params:
        datasets=lambda wildcards: [f"{DATA}/{name}" for name in datasets_to_train_on()],
        weights=lambda wildcards, input: Path(input.weights[0]).parent,
    message:
        "Check every dataset and weight file against its digest"
    shell:
        "python -m workflows.steps.check --datasets {params.datasets} --weights {params.weights}"
        " --out {output} 2>&1 | tee {log}"


rule reference:
    input:
        data=lambda wildcards: prepared(wildcards.dataset),
        weights=weight_files(),
    output:
        f".cache/reference/{{dataset}}/{{protocol}}-{{version}}-{fid_images()}.safetensors",
    log:
        f"logs/reference/{{dataset}}-{{protocol}}-{{version}}-{fid_images()}.log",
    conda:
        "../../environment.yml"
    threads: slots()
    resources:
        **GPU,
        runtime=limit("reference"),
    params:
        data=lambda wildcards, input: Path(input.data[0]).parent,
        weights=lambda wildcards, input: Path(input.weights[0]).parent,
        images=fid_images(),
    message:
        "Inception features of {wildcards.dataset}'s test images ({wildcards.protocol})"
    shell:
        "python -m workflows.steps.reference --data {params.data}"
        " --protocol {wildcards.protocol} --images {params.images}"
        " --weights {params.weights} --out {output} 2>&1 | tee {log}"
