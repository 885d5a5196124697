# Every cell's numbers, without tables and figures.
rule all_cells:
    input:
        lambda wildcards: records_of(),


rule train:
    input:
        unpack(unless_finished(training_files, training=True)),
    output:
        f"{CELL}/model.safetensors",
        f"{CELL}/log.csv",
        f"{CELL}/train.json",
    log:
        f"logs/{BUDGET}/{{cell}}/train.log",
    wildcard_constraints:
        cell=of_stage(TRAINED, 1),
    conda:
        "../../environment.yml"
    threads: slots()
    resources:
        **GPU,
        runtime=limit("train"),
        mem_mb=memory("train"),
        # That share each batch; no parameter, for the model is the same.
        processes=1,
    params:
        spec=spec_of,
        versions=training_versions_of,
        data=data_of,
        folder=folder_of,
        weights=lambda wildcards: f"--weights {WEIGHTS}" if larger(wildcards) else "",
        film="",
    message:
        "Train {wildcards.cell}"
    shell:
        "python -m workflows.steps.train --spec {params.spec:q} --data {params.data}"
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
        unpack(unless_finished(evaluation_files)),
    output:
        f"{CELL}/metrics.csv",
        f"{CELL}/codes.csv",
        f"{CELL}/reconstructions.png",
        f"{CELL}/evaluation.json",
    log:
        f"logs/{BUDGET}/{{cell}}/evaluate.log",
    wildcard_constraints:
        cell=of_stage(MEASURED, 1),
    # A cell is finished before another is begun, so that a long run has results early.
    priority: 1
    conda:
        "../../environment.yml"
    threads: slots()
    resources:
        **GPU,
        runtime=limit("evaluate"),
        mem_mb=memory("evaluate"),
    params:
        folder=folder_of,
        data=data_of,
        weights=WEIGHTS,
        protocols=protocols_of,
        references=references_of,
        fid_images=fid_images(),
        lpips_images=lpips_images(),
        versions=evaluation_versions_of,
    message:
        "Evaluate {wildcards.cell}"
    shell:
        "python -m workflows.steps.evaluate --cell {params.folder} --data {params.data}"
        " --weights {params.weights} --protocols {params.protocols}"
        " --fid-images {params.fid_images} --lpips-images {params.lpips_images}"
        " --reference {params.references} --versions {params.versions:q} --threads 1 2>&1 | tee {log}"


# A file of a cell that is not of this budget, or whose dataset cannot be had.
rule no_such_cell:
    input:
        refused,
    output:
        f"{CELL}/{{file}}",
    log:
        f"logs/{BUDGET}/{{cell}}/{{file}}.log",
    wildcard_constraints:
        cell=f"(?!(?:{matching(MEASURED)}|{FINISHED})/){ANY_CELL}",
        file="[^/]+",
    conda:
        "../../environment.yml"
    shell:
        "false > {log}"
