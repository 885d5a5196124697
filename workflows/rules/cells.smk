# Every cell's numbers, without tables and figures: what runs where files are fetched from a store.
rule all_cells:
    input:
        records_of(present_cells()),


rule train:
    input:
        dataset_of,
        arrays=beside(arrays_of),
        weights=beside(
            lambda wildcards: rules.weights.output if larger(wildcards) else []
        ),
        checked=ancient(rules.check.output),
    output:
        f"{CELL}/model.safetensors",
        f"{CELL}/log.csv",
        f"{CELL}/train.json",
    log:
        f"logs/{BUDGET}/{{cell}}/train.log",
    conda:
        "../../environment.yml"
    threads: slots()
    resources:
        **GPU,
        runtime=limit(train_seconds),
        mem_mb=memory(train_bytes),
        # That share each batch; no parameter, for the model is the same.
        processes=1,
    params:
        spec=spec_of,
        data=subpath(input[0], parent=True),
        folder=subpath(output[0], parent=True),
        versions=training_versions_of,
        # One of the metric networks is part of what the larger network minimises.
        weights=lambda wildcards, input: (
            f"--weights {Path(input.weights[0]).parent if input.weights else WEIGHTS}"
            if larger(wildcards)
            else ""
        ),
        film="",
    message:
        "Train {wildcards.cell}"
    shell:
        "python -S workflows/start.py workflows.steps.train --spec {params.spec:q} --data {params.data}"
        " --out {params.folder} --versions {params.versions:q} --threads 1"
        " --processes {resources.processes} {params.weights} {params.film} 2>&1 | tee {log}"


use rule train as train_filmed with:
    output:
        f"{CELL}/model.safetensors",
        f"{CELL}/log.csv",
        f"{CELL}/train.json",
        f"{CELL}/film.safetensors",
    wildcard_constraints:
        cell=FILMED,
    params:
        film="--film",


ruleorder: train_filmed > train


rule evaluate:
    input:
        f"{CELL}/train.json",
        f"{CELL}/model.safetensors",
        data=dataset_of,
        arrays=beside(arrays_of),
        references=references_of,
        weights=rules.weights.output,
    output:
        f"{CELL}/metrics.csv",
        f"{CELL}/codes.csv",
        f"{CELL}/reconstructions.png",
        f"{CELL}/evaluation.json",
    log:
        f"logs/{BUDGET}/{{cell}}/evaluate.log",
    # A cell is finished before another is begun, so that a long run has results early.
    priority: 1
    conda:
        "../../environment.yml"
    threads: slots()
    resources:
        **GPU,
        runtime=limit(evaluate_seconds),
        mem_mb=memory(evaluate_bytes),
    params:
        folder=subpath(output[0], parent=True),
        data=subpath(input.data, parent=True),
        weights=lambda wildcards, input: Path(input.weights[0]).parent,
        protocols=protocols_of,
        fid_images=fid_images(),
        lpips_images=lpips_images(),
        versions=evaluation_versions_of,
    message:
        "Evaluate {wildcards.cell}"
    shell:
        "python -S workflows/start.py workflows.steps.evaluate --cell {params.folder} --data {params.data}"
        " --weights {params.weights} --protocols {params.protocols}"
        " --fid-images {params.fid_images} --lpips-images {params.lpips_images}"
        " --reference {input.references} --versions {params.versions:q} --threads 1 2>&1 | tee {log}"
