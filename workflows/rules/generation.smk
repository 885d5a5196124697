rule latents:
    input:
        unpack(latent_files),
    output:
        f"{CELL}/latents.safetensors",
    log:
        f"logs/{BUDGET}/{{cell}}/latents.log",
    conda:
        "../../environment.yml"
    threads: slots()
    resources:
        **GPU,
        runtime=limit("latents"),
    params:
        folder=folder_of,
        data=data_of,
        versions=training_versions_of,
    message:
        "Latents of {wildcards.cell}"
    shell:
        "python -m workflows.steps.latents --cell {params.folder}"
        " --data {params.data} --versions {params.versions:q} --out {output} --threads 1 2>&1 | tee {log}"


rule train_diffusion:
    input:
        unpack(unless_finished(diffusion_files, training=True)),
    output:
        f"{CELL}/model.safetensors",
        f"{CELL}/progress.safetensors",
        f"{CELL}/log.csv",
        f"{CELL}/train.json",
    log:
        f"logs/{BUDGET}/{{cell}}/train.log",
    wildcard_constraints:
        cell=of_stage(TRAINED, 2),
    conda:
        "../../environment.yml"
    threads: slots()
    resources:
        **GPU,
        runtime=limit("train_diffusion"),
        mem_mb=memory("train_diffusion"),
        processes=1,
    params:
        spec=training_spec_of,
        versions=training_versions_of,
        data=data_of,
        folder=folder_of,
        latents=lambda wildcards: (
            f"--latents {latents_of(wildcards)}" if latents_of(wildcards) else ""
        ),
        progress=GRID.budget["generation"]["progress_samples"],
    message:
        "Train {wildcards.cell}"
    shell:
        "python -m workflows.steps.train_diffusion --spec {params.spec:q}"
        " --data {params.data} {params.latents} --out {params.folder} --versions {params.versions:q}"
        " --progress-samples {params.progress} --threads 1 --processes {resources.processes}"
        " 2>&1 | tee {log}"


rule sample:
    input:
        unpack(unless_finished(sampling_files)),
    output:
        temp(f"{CELL}/samples.npy"),
        temp(f"{CELL}/progress.npy"),
        temp(f"{CELL}/noise.npy"),
        f"{CELL}/sampling.json",
    log:
        f"logs/{BUDGET}/{{cell}}/sample.log",
    wildcard_constraints:
        cell=of_stage(MEASURED, 2),
    priority: 1
    conda:
        "../../environment.yml"
    threads: slots()
    resources:
        **GPU,
        runtime=limit("sample"),
        mem_mb=memory("sample"),
    params:
        folder=folder_of,
        sampling=sampling_of,
        versions=as_json(sampling_versions()),
        stage1=lambda wildcards: (
            f"--stage1 {Path(latents_of(wildcards)).parent} --latents {latents_of(wildcards)}"
            if latents_of(wildcards)
            else ""
        ),
    message:
        "Sample {wildcards.cell}"
    shell:
        "python -m workflows.steps.sample --cell {params.folder}"
        " --sampling {params.sampling:q} {params.stage1} --versions {params.versions:q}"
        " --threads 1 2>&1 | tee {log}"


rule training_reference:
    input:
        data=lambda wildcards: prepared(wildcards.dataset),
        weights=weight_files(),
    output:
        f".cache/reference/{{dataset}}/train-{{version}}-{reference_images()}.safetensors",
    log:
        f"logs/reference/{{dataset}}-train-{{version}}-{reference_images()}.log",
    conda:
        "../../environment.yml"
    threads: slots()
    resources:
        **GPU,
        runtime=limit("training_reference"),
    params:
        data=lambda wildcards, input: Path(input.data[0]).parent,
        weights=lambda wildcards, input: Path(input.weights[0]).parent,
        images=reference_images(),
    message:
        "Inception features of {wildcards.dataset}'s training images"
    shell:
        "python -m workflows.steps.reference --data {params.data} --split train"
        " --protocol samples --images {params.images}"
        " --weights {params.weights} --out {output} 2>&1 | tee {log}"


rule evaluate_samples:
    input:
        unpack(unless_finished(sample_files)),
    output:
        f"{CELL}/metrics.csv",
        f"{CELL}/progress.csv",
        f"{CELL}/samples.png",
        f"{CELL}/neighbours.png",
        f"{CELL}/evaluation.json",
    log:
        f"logs/{BUDGET}/{{cell}}/evaluate.log",
    wildcard_constraints:
        cell=of_stage(MEASURED, 2),
    priority: 2
    conda:
        "../../environment.yml"
    threads: slots()
    resources:
        **GPU,
        runtime=limit("evaluate_samples"),
        mem_mb=memory("evaluate_samples"),
    params:
        folder=folder_of,
        data=data_of,
        weights=WEIGHTS,
        reference=training_reference_of,
        versions=evaluation_versions_of,
    message:
        "Measure the samples of {wildcards.cell}"
    shell:
        "python -m workflows.steps.evaluate_samples --cell {params.folder}"
        " --data {params.data} --weights {params.weights} --reference {params.reference}"
        " --versions {params.versions:q} --threads 1 2>&1 | tee {log}"


ruleorder: train_diffusion > train
ruleorder: evaluate_samples > evaluate
