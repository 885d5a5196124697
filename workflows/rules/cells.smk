# Every cell's numbers, without tables and figures.
rule all_cells:
    input:
        lambda wildcards: RUN.records_of(),


rule train:
    input:
        unpack(unless_finished(training_files, "train")),
    output:
        f"{CELL}/model.safetensors",
        f"{CELL}/log.csv",
        f"{CELL}/train.json",
    log:
        f"logs/{BUDGET}/{{cell}}/train.log",
    wildcard_constraints:
        cell=RUN.cells_to("train", stage=1),
    conda:
        "../../environment.yml"
    threads: RUN.config.threads
    resources:
        **requests("train"),
        # That share each batch of a VQGAN; no parameter, for the model is the same.
        processes=1,
    params:
        spec=spec_of,
        data=data_of,
    message:
        "Train {wildcards.cell}"
    shell:
        "python -m workflows.steps.train --spec {params.spec:q} --data {params.data}"
        f" --out {FOLDER} --weights {WEIGHTS} --threads {{threads}}"
        " --processes {resources.processes} 2>&1 | tee {log}"


use rule train as train_filmed with:
    output:
        f"{CELL}/model.safetensors",
        f"{CELL}/log.csv",
        f"{CELL}/train.json",
        f"{CELL}/film.safetensors",
    wildcard_constraints:
        cell=RUN.cells_to("train", stage=1, filmed=True),


rule train_quantiser:
    input:
        unpack(unless_finished(quantiser_files, "train")),
    output:
        f"{CELL}/model.safetensors",
        f"{CELL}/log.csv",
        f"{CELL}/train.json",
    log:
        f"logs/{BUDGET}/{{cell}}/train.log",
    wildcard_constraints:
        cell=RUN.cells_to("train", stage=1, on_latents=True),
    conda:
        "../../environment.yml"
    threads: RUN.config.threads
    resources:
        **requests("train"),
    params:
        spec=spec_of,
        data=data_of,
        folder=CELL,
        stage1=stage1_of,
    message:
        "Train {wildcards.cell}"
    shell:
        "python -m workflows.steps.train_quantiser --spec {params.spec:q} --data {params.data}"
        " {params.stage1} --out {params.folder} --threads {threads} 2>&1 | tee {log}"


ruleorder: train_quantiser > train_filmed > train


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
        cell=RUN.cells_to("evaluate", stage=1),
    # A cell is finished before another is begun, so that a long run has results early.
    priority: 1
    conda:
        "../../environment.yml"
    threads: RUN.config.threads
    resources:
        **requests("evaluate"),
    params:
        data=data_of,
        # Not from the input, which is empty while it is not known whether the record fits.
        references=lambda wildcards: RUN.references_of(wildcards.cell),
        evaluation=evaluation_of,
    message:
        "Evaluate {wildcards.cell}"
    shell:
        f"python -m workflows.steps.evaluate --cell {FOLDER} --weights {WEIGHTS}"
        " --data {params.data} --reference {params.references}"
        " --evaluation {params.evaluation:q} --threads {threads} 2>&1 | tee {log}"


# A file of another budget, or of a cell that is not of this one or whose dataset cannot be had. The
# files of finished cells are there, and no rule makes them.
rule refused:
    input:
        refuse,
    output:
        "{file}",
    log:
        "logs/refused/{file}.log",
    wildcard_constraints:
        file=RUN.refused(),
    conda:
        "../../environment.yml"
    shell:
        "false > {log}"
