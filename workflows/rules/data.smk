rule prepare:
    output:
        f"{DATA}/{{dataset}}/dataset.json",
        f"{DATA}/{{dataset}}/train.npy",
        f"{DATA}/{{dataset}}/test.npy",
    log:
        "logs/prepare/{dataset}.log",
    conda:
        "../../environment.yml"
    resources:
        runtime=limit(prepare_seconds),
    params:
        folder=subpath(output[0], parent=True),
        decoding=decoding_of,
    message:
        "Prepare the images of {wildcards.dataset}"
    shell:
        "python -m workflows.steps.prepare --dataset {wildcards.dataset}"
        " --out {params.folder} 2>&1 | tee {log}"


use rule prepare as prepare_labelled with:
    output:
        f"{DATA}/{{dataset}}/dataset.json",
        f"{DATA}/{{dataset}}/train.npy",
        f"{DATA}/{{dataset}}/test.npy",
        f"{DATA}/{{dataset}}/labels.npy",
    wildcard_constraints:
        dataset=LABELLED,


ruleorder: prepare_labelled > prepare


rule weights:
    output:
        expand(
            f"{WEIGHTS}/{{network}}.{{kind}}",
            network=["inception", "lpips_vgg", "lpips_alex"],
            kind=["safetensors", "json"],
        ),
    log:
        "logs/weights.log",
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output[0], parent=True),
        given=os.environ.get("CODEBOOK_WEIGHTS", ""),
    message:
        "Verify and convert the weights of the metric networks"
    shell:
        "python -m workflows.steps.weights --out {params.folder} 2>&1 | tee {log}"


# Every training waits for this, so that bad data or weights are refused before any has started.
rule check:
    input:
        datasets=expand(f"{DATA}/{{dataset}}/dataset.json", dataset=present_datasets()),
        arrays=beside(
            lambda wildcards: [
                file
                for name in present_datasets()
                for file in (*arrays_in(name), *labels_in(name))
            ]
        ),
        weights=rules.weights.output,
    output:
        f".cache/checked/{BUDGET}.json",
    log:
        f"logs/{BUDGET}/check.log",
    conda:
        "../../environment.yml"
    params:
        datasets=lambda wildcards, input: [Path(file).parent for file in input.datasets],
        weights=lambda wildcards, input: Path(input.weights[0]).parent,
    message:
        "Check every dataset and weight file against its digest"
    shell:
        "python -m workflows.steps.check --datasets {params.datasets} --weights {params.weights}"
        " --out {output} 2>&1 | tee {log}"


rule reference:
    input:
        data=f"{DATA}/{{dataset}}/dataset.json",
        arrays=beside(arrays_of),
        weights=rules.weights.output,
    output:
        f".cache/reference/{{dataset}}/{{protocol}}-{fid_images()}.safetensors",
    log:
        f"logs/reference/{{dataset}}-{{protocol}}-{fid_images()}.log",
    conda:
        "../../environment.yml"
    threads: slots()
    resources:
        **GPU,
        runtime=limit(reference_seconds),
    params:
        data=subpath(input.data, parent=True),
        weights=lambda wildcards, input: Path(input.weights[0]).parent,
        images=fid_images(),
        versions=lambda wildcards: as_json(protocol_versions([wildcards.protocol])),
    message:
        "Inception features of {wildcards.dataset}'s test images ({wildcards.protocol})"
    shell:
        "python -S workflows/start.py workflows.steps.reference --data {params.data}"
        " --protocol {wildcards.protocol} --images {params.images}"
        " --weights {params.weights} --out {output} 2>&1 | tee {log}"
