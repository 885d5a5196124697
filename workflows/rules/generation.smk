rule latents:
    input:
        unpack(latent_files),
    output:
        f"{CELL}/{{kind}}.safetensors",
    log:
        f"logs/{BUDGET}/{{cell}}/{{kind}}.log",
    wildcard_constraints:
        kind="latents|codes",
    conda:
        "../../environment.yml"
    threads: RUN.config.threads
    resources:
        **requests("latents"),
    params:
        data=data_of,
        versions=lambda wildcards: json.dumps(PLAN.cells[wildcards.cell].versions),
    message:
        "The {wildcards.kind} of {wildcards.cell}"
    shell:
        f"python -m workflows.steps.latents --cell {FOLDER} --kind {{wildcards.kind}}"
        " --data {params.data} --versions {params.versions:q} --out {output} --threads {threads} 2>&1 | tee {log}"


rule train_generator:
    input:
        unpack(unless_finished(generator_files, "train")),
    output:
        f"{CELL}/model.safetensors",
        f"{CELL}/progress.safetensors",
        f"{CELL}/log.csv",
        f"{CELL}/train.json",
    log:
        f"logs/{BUDGET}/{{cell}}/train.log",
    wildcard_constraints:
        cell=RUN.cells_to("train", stage=2),
    conda:
        "../../environment.yml"
    threads: RUN.config.threads
    resources:
        **requests("train_generator"),
        processes=1,
    params:
        spec=spec_of,
        data=data_of,
        stage1=stage1_of,
    message:
        "Train {wildcards.cell}"
    shell:
        "python -m workflows.steps.train_generator --spec {params.spec:q} --data {params.data}"
        f" {{params.stage1}} --out {FOLDER} --progress-samples {PLAN.progress_samples}"
        " --threads {threads} --processes {resources.processes} 2>&1 | tee {log}"


rule sample:
    input:
        unpack(unless_finished(sampling_files, "sample")),
    output:
        temp(f"{CELL}/samples.npy"),
        temp(f"{CELL}/progress.npy"),
        temp(f"{CELL}/noise.npy"),
        f"{CELL}/sampling.json",
    log:
        f"logs/{BUDGET}/{{cell}}/sample.log",
    wildcard_constraints:
        cell=RUN.cells_to("evaluate", stage=2),
    priority: 1
    conda:
        "../../environment.yml"
    threads: RUN.config.threads
    resources:
        **requests("sample"),
    params:
        data=data_of,
        evaluation=evaluation_of,
        stage1=stage1_of,
    message:
        "Sample {wildcards.cell}"
    shell:
        f"python -m workflows.steps.sample --cell {FOLDER} --data {{params.data}}"
        " --evaluation {params.evaluation:q} {params.stage1} --threads {threads} 2>&1 | tee {log}"


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
        cell=RUN.cells_to("evaluate", stage=2),
    priority: 2
    conda:
        "../../environment.yml"
    threads: RUN.config.threads
    resources:
        **requests("evaluate_samples"),
    params:
        data=data_of,
        references=lambda wildcards: RUN.references_of(wildcards.cell),
        evaluation=evaluation_of,
    message:
        "Measure the samples of {wildcards.cell}"
    shell:
        f"python -m workflows.steps.evaluate_samples --cell {FOLDER} --weights {WEIGHTS}"
        " --data {params.data} --reference {params.references}"
        " --evaluation {params.evaluation:q} --threads {threads} 2>&1 | tee {log}"


ruleorder: train_generator > train
ruleorder: evaluate_samples > evaluate
