rule latents:
    input:
        f"{CELL}/train.json",
        f"{CELL}/model.safetensors",
        data=dataset_of,
        arrays=beside(arrays_of),
    output:
        f"{CELL}/latents.safetensors",
    log:
        f"logs/{BUDGET}/{{cell}}/latents.log",
    conda:
        "../../environment.yml"
    threads: slots()
    resources:
        **GPU,
        runtime=limit(latents_seconds),
    params:
        folder=subpath(output[0], parent=True),
        data=subpath(input.data, parent=True),
        versions=training_versions_of,
    message:
        "Latents of {wildcards.cell}"
    shell:
        "python -S workflows/start.py workflows.steps.latents --cell {params.folder}"
        " --data {params.data} --versions {params.versions:q} --out {output} --threads 1 2>&1 | tee {log}"


rule train_diffusion:
    input:
        dataset_of,
        arrays=beside(arrays_of),
        labels=beside(labels_of),
        latents=latents_of,
        checked=ancient(rules.check.output),
    output:
        f"{CELL}/model.safetensors",
        f"{CELL}/progress.safetensors",
        f"{CELL}/log.csv",
        f"{CELL}/train.json",
    log:
        f"logs/{BUDGET}/{{cell}}/train.log",
    wildcard_constraints:
        cell=DIFFUSION,
    conda:
        "../../environment.yml"
    threads: slots()
    resources:
        **GPU,
        runtime=limit(train_diffusion_seconds),
        mem_mb=memory(train_bytes),
        processes=1,
    params:
        spec=training_spec_of,
        data=subpath(input[0], parent=True),
        folder=subpath(output[0], parent=True),
        latents=lambda wildcards, input: (
            f"--latents {input.latents}" if input.latents else ""
        ),
        progress=GRID.budget["generation"]["progress_samples"],
        versions=training_versions_of,
    message:
        "Train {wildcards.cell}"
    shell:
        "python -S workflows/start.py workflows.steps.train_diffusion --spec {params.spec:q}"
        " --data {params.data} {params.latents} --out {params.folder} --versions {params.versions:q}"
        " --progress-samples {params.progress} --threads 1 --processes {resources.processes}"
        " 2>&1 | tee {log}"


rule sample:
    input:
        f"{CELL}/train.json",
        f"{CELL}/model.safetensors",
        f"{CELL}/progress.safetensors",
        latents=latents_of,
        stage1=beside(first_stage_files),
    output:
        temp(f"{CELL}/samples.npy"),
        temp(f"{CELL}/progress.npy"),
        temp(f"{CELL}/noise.npy"),
        f"{CELL}/sampling.json",
    log:
        f"logs/{BUDGET}/{{cell}}/sample.log",
    wildcard_constraints:
        cell=DIFFUSION,
    priority: 1
    conda:
        "../../environment.yml"
    threads: slots()
    resources:
        **GPU,
        runtime=limit(sample_seconds),
        mem_mb=memory(samples_bytes),
    params:
        folder=subpath(output[0], parent=True),
        sampling=sampling_of,
        stage1=lambda wildcards, input: (
            f"--stage1 {Path(input.latents).parent} --latents {input.latents}"
            if input.latents
            else ""
        ),
        versions=as_json(sampling_versions()),
    message:
        "Sample {wildcards.cell}"
    shell:
        "python -S workflows/start.py workflows.steps.sample --cell {params.folder}"
        " --sampling {params.sampling:q} {params.stage1} --versions {params.versions:q}"
        " --threads 1 2>&1 | tee {log}"


rule training_reference:
    input:
        data=f"{DATA}/{{dataset}}/dataset.json",
        arrays=beside(arrays_of),
        weights=rules.weights.output,
    output:
        f".cache/reference/{{dataset}}/train-{reference_images()}.safetensors",
    log:
        f"logs/reference/{{dataset}}-train-{reference_images()}.log",
    conda:
        "../../environment.yml"
    threads: slots()
    resources:
        **GPU,
        runtime=limit(training_reference_seconds),
    params:
        data=subpath(input.data, parent=True),
        weights=lambda wildcards, input: Path(input.weights[0]).parent,
        images=reference_images(),
        versions=as_json(protocol_versions(["samples"])),
    message:
        "Inception features of {wildcards.dataset}'s training images"
    shell:
        "python -S workflows/start.py workflows.steps.reference --data {params.data} --split train"
        " --protocol samples --images {params.images}"
        " --weights {params.weights} --out {output} 2>&1 | tee {log}"


rule evaluate_samples:
    input:
        f"{CELL}/sampling.json",
        f"{CELL}/samples.npy",
        f"{CELL}/progress.npy",
        f"{CELL}/noise.npy",
        data=dataset_of,
        arrays=beside(arrays_of),
        reference=training_reference_of,
        weights=rules.weights.output,
    output:
        f"{CELL}/metrics.csv",
        f"{CELL}/progress.csv",
        f"{CELL}/samples.png",
        f"{CELL}/neighbours.png",
        f"{CELL}/evaluation.json",
    log:
        f"logs/{BUDGET}/{{cell}}/evaluate.log",
    wildcard_constraints:
        cell=DIFFUSION,
    priority: 2
    conda:
        "../../environment.yml"
    threads: slots()
    resources:
        **GPU,
        runtime=limit(evaluate_samples_seconds),
        mem_mb=memory(samples_bytes),
    params:
        folder=subpath(output[0], parent=True),
        data=subpath(input.data, parent=True),
        weights=lambda wildcards, input: Path(input.weights[0]).parent,
        versions=evaluation_versions_of,
    message:
        "Measure the samples of {wildcards.cell}"
    shell:
        "python -S workflows/start.py workflows.steps.evaluate_samples --cell {params.folder}"
        " --data {params.data} --weights {params.weights} --reference {input.reference}"
        " --versions {params.versions:q} --threads 1 2>&1 | tee {log}"


ruleorder: train_diffusion > train
ruleorder: evaluate_samples > evaluate
