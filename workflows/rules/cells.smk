# The numbers of all cells, without tables and figures.
rule all_cells:
    input:
        lambda wildcards: RUN.records_of(),


rule train:
    input:
        unpack(if_needed("train", training_files)),
    output:
        f"{CELL}/model.safetensors",
        f"{CELL}/log.csv",
        f"{CELL}/train.json",
    log:
        f"logs/{BUDGET}/{{cell}}/train.log",
    wildcard_constraints:
        cell=RUN.trained_by("train"),
    conda:
        "../../environment.yml"
    threads: RUN.config.threads
    resources:
        **requests("train"),
        # Processes that share each batch. They change no numbers, so they are no parameter.
        processes=1,
    params:
        step="train",
        spec=lambda wildcards: PLAN.spec(wildcards.cell).model_dump_json(),
        data=data_of,
        folder=CELL,
        options="",
    message:
        "Train {wildcards.cell}"
    shell:
        "python -m workflows.steps.{params.step} --spec {params.spec:q} --data {params.data}"
        " --out {params.folder} {params.options} --threads {threads}"
        " --processes {resources.processes} 2>&1 | tee {log}"


use rule train as train_filmed with:
    output:
        f"{CELL}/model.safetensors",
        f"{CELL}/log.csv",
        f"{CELL}/train.json",
        f"{CELL}/film.safetensors",
    wildcard_constraints:
        cell=RUN.trained_by("train_filmed"),


use rule train as train_quantiser with:
    wildcard_constraints:
        cell=RUN.trained_by("train_quantiser"),
    params:
        step="train_quantiser",
        options=stage1_of,


rule evaluate:
    input:
        unpack(if_needed("evaluate", evaluation_files)),
    output:
        f"{CELL}/metrics.csv",
        f"{CELL}/codes.csv",
        f"{CELL}/reconstructions.png",
        f"{CELL}/evaluation.json",
    log:
        f"logs/{BUDGET}/{{cell}}/evaluate.log",
    wildcard_constraints:
        cell=RUN.measured_in(stage=1),
    # Trained cells are measured before other cells are trained, so a long run has results early.
    priority: 1
    conda:
        "../../environment.yml"
    threads: RUN.config.threads
    resources:
        **requests("evaluate"),
    params:
        step="evaluate",
        data=data_of,
        folder=CELL,
        evaluation=lambda wildcards: (
            PLAN.cells[wildcards.cell].evaluation.model_dump_json()
        ),
        options=measuring_options,
    message:
        "Evaluate {wildcards.cell}"
    shell:
        "python -m workflows.steps.{params.step} --cell {params.folder} --data {params.data}"
        " {params.options} --evaluation {params.evaluation:q} --threads {threads} 2>&1 | tee {log}"
