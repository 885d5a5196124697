localrules:
    plan,
    collect,
    table,
    figure,


rule plan:
    output:
        f"{RESULTS}/plan.json",
    log:
        f"logs/{BUDGET}/plan.log",
    conda:
        "../../environment.yml"
    params:
        plan=json.dumps(plan(), indent=1, sort_keys=True),
    message:
        "Write down what the tables show"
    shell:
        "cat > {output} 2> {log} <<'PLAN'\n{params.plan}\nPLAN"


rule collect:
    input:
        expand(f"{CELL}/metrics.csv", cell=present_cells()),
        plan=rules.plan.output,
    output:
        measured=f"{RESULTS}/measured.csv",
        curves=f"{RESULTS}/curves.csv",
        codes=f"{RESULTS}/codes.csv",
        reconstructions=directory(f"{RESULTS}/reconstructions"),
    log:
        f"logs/{BUDGET}/collect.log",
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output.measured, parent=True),
        code=fingerprint("workflows.steps.collect"),
    message:
        "Collect every cell's numbers"
    shell:
        "python -m workflows.steps.collect --plan {input.plan} --out {params.folder}"
        " 2>&1 | tee {log}"


rule table:
    input:
        plan=rules.plan.output,
        measured=rules.collect.output.measured,
        published="results/published",
    output:
        f"{RESULTS}/tables/{{table}}.md",
        f"{RESULTS}/tables/{{table}}.csv",
        f"{RESULTS}/tables/{{table}}.tex",
    log:
        f"logs/{BUDGET}/tables/{{table}}.log",
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output[0], parent=True),
        code=fingerprint("workflows.steps.tables"),
    message:
        "Table {wildcards.table}"
    shell:
        "python -m workflows.steps.tables --plan {input.plan} --measured {input.measured}"
        " --published {input.published} --table {wildcards.table} --out {params.folder}"
        " 2>&1 | tee {log}"


rule figure:
    input:
        plan=rules.plan.output,
        measured=rules.collect.output.measured,
        curves=rules.collect.output.curves,
        codes=rules.collect.output.codes,
        reconstructions=rules.collect.output.reconstructions,
    output:
        f"figures/{BUDGET}/{{figure}}.svg",
        f"figures/{BUDGET}/{{figure}}.png",
    log:
        f"logs/{BUDGET}/figures/{{figure}}.log",
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output[0], parent=True),
        code=fingerprint("workflows.steps.figures"),
    message:
        "Figure {wildcards.figure}"
    shell:
        "python -m workflows.steps.figures --plan {input.plan} --measured {input.measured}"
        " --curves {input.curves} --codes {input.codes}"
        " --reconstructions {input.reconstructions} --figure {wildcards.figure}"
        " --out {params.folder} 2>&1 | tee {log}"
