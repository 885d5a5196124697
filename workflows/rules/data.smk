# A checkpoint, because only the prepared images tell which finished cells were trained on them, and
# only the download tells whether the cells of this dataset can be made.
checkpoint prepare:
    input:
        lambda wildcards: due(
            f".datasets/{wildcards.dataset}", wildcards.dataset in RUN.to_prepare
        ),
    output:
        # If preparing fails, the old record stays and says what finished cells were trained on.
        update(f"{DATA}/{{dataset}}/dataset.json"),
        f"{DATA}/{{dataset}}/train.npy",
        f"{DATA}/{{dataset}}/test.npy",
        f"{DATA}/{{dataset}}/labels.npy",
    log:
        "logs/prepare/{dataset}.log",
    conda:
        "../../environment.yml"
    resources:
        **requests("prepare", {}),
    message:
        "Prepare the images of {wildcards.dataset}"
    shell:
        "python -m workflows.steps.prepare --dataset {wildcards.dataset}"
        f" --out {DATA}/{{wildcards.dataset}} 2>&1 | tee {{log}}"


# Every training waits for this rule, so that damaged data and weights are refused before any
# training starts. The weights are those of all networks, also of one that few cells use.
rule check:
    input:
        datasets=lambda wildcards: [
            file for name in RUN.datasets_to_check() for file in prepared(name)
        ],
        weights=weight_files,
    output:
        f".cache/checked/{BUDGET}.json",
    log:
        f"logs/{BUDGET}/check.log",
    conda:
        "../../environment.yml"
    params:
        datasets=lambda wildcards: [
            f"{DATA}/{name}" for name in RUN.datasets_to_check()
        ],
    message:
        "Check every dataset and weight file against its digest"
    shell:
        "python -m workflows.steps.check --datasets {params.datasets} --out {output} 2>&1 | tee {log}"


rule reference:
    input:
        data=lambda wildcards: prepared(wildcards.dataset),
    output:
        ".cache/reference/{dataset}/{split}-{protocol}-{version}-{images}.safetensors",
    log:
        "logs/reference/{dataset}-{split}-{protocol}-{version}-{images}.log",
    wildcard_constraints:
        version=r"v[0-9]+\.[0-9]+",
        images="[0-9]+",
    conda:
        "../../environment.yml"
    threads: RUN.config.threads
    resources:
        **requests("reference"),
    message:
        "Inception features of {wildcards.dataset}'s {wildcards.split} images ({wildcards.protocol})"
    shell:
        f"python -m workflows.steps.reference --data {DATA}/{{wildcards.dataset}}"
        " --split {wildcards.split} --protocol {wildcards.protocol}"
        " --images {wildcards.images} --out {output} --threads {threads} 2>&1 | tee {log}"
