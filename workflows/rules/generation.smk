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
        folder=CELL,
    message:
        "The {wildcards.kind} of {wildcards.cell}"
    shell:
        "python -m workflows.steps.latents --cell {params.folder} --kind {wildcards.kind}"
        " --data {params.data} --out {output} --threads {threads} 2>&1 | tee {log}"


use rule train as train_generator with:
    output:
        f"{CELL}/model.safetensors",
        f"{CELL}/progress.safetensors",
        f"{CELL}/log.csv",
        f"{CELL}/train.json",
    wildcard_constraints:
        cell=RUN.trained_by("train_generator"),
    resources:
        **requests("train_generator"),
        processes=1,
    params:
        step="train_generator",
        options=stage1_of,


use rule evaluate as sample with:
    input:
        unpack(if_needed("sample", sampling_files)),
    output:
        temp(f"{CELL}/samples.npy"),
        temp(f"{CELL}/progress.npy"),
        temp(f"{CELL}/noise.npy"),
        f"{CELL}/sampling.json",
    log:
        f"logs/{BUDGET}/{{cell}}/sample.log",
    wildcard_constraints:
        cell=RUN.measured_in(stage=2),
    resources:
        **requests("sample"),
    params:
        step="sample",
        options=stage1_of,
    message:
        "Sample {wildcards.cell}"


use rule evaluate as evaluate_samples with:
    output:
        f"{CELL}/metrics.csv",
        f"{CELL}/progress.csv",
        f"{CELL}/samples.png",
        f"{CELL}/neighbours.png",
        f"{CELL}/evaluation.json",
    wildcard_constraints:
        cell=RUN.measured_in(stage=2),
    priority: 2
    resources:
        **requests("evaluate_samples"),
    params:
        step="evaluate_samples",
    message:
        "Measure the samples of {wildcards.cell}"
