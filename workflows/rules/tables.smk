localrules:
    plan,
    collect,
    collect_all,
    table,
    figure,
    animation,
    verdicts,


rule plan:
    input:
        due(Path(".cache/due", BUDGET, "plan"), plan_changed()),
        lambda wildcards: files_of(GRID.cells, []),
    output:
        f"{RESULTS}/plan.json",
    log:
        f"logs/{BUDGET}/plan.log",
    conda:
        "../../environment.yml"
    params:
        budget=BUDGET,
        missing=lambda wildcards: as_json(absent()),
    message:
        "Write down what the tables show"
    shell:
        "python -m workflows.steps.plan --budget {params.budget} --missing {params.missing:q}"
        " --out {output} 2>&1 | tee {log}"


# Collected table by table, so that a cell that was run again renews only the tables it feeds.
rule collect:
    input:
        lambda wildcards: records_of(table_asked(wildcards)),
        due=lambda wildcards: due(
            Path(".cache/due", BUDGET, "collected", wildcards.table),
            collected_lacks(wildcards.table),
        ),
        plan=rules.plan.output,
    output:
        measured=f"{RESULTS}/collected/{{table}}/measured.csv",
        curves=f"{RESULTS}/collected/{{table}}/curves.csv",
        codes=f"{RESULTS}/collected/{{table}}/codes.csv",
        pictures=directory(f"{RESULTS}/collected/{{table}}/reconstructions"),
    log:
        f"logs/{BUDGET}/collect/{{table}}.log",
    conda:
        "../../environment.yml"
    params:
        table=lambda wildcards: f"--table {wildcards.table}",
        folder=subpath(output.measured, parent=True),
    message:
        "Collect the numbers of table {wildcards.table}"
    shell:
        "python -m workflows.steps.collect --plan {input.plan} {params.table}"
        " --out {params.folder} 2>&1 | tee {log}"


use rule collect as collect_all with:
    input:
        lambda wildcards: records_of(),
        due=due(Path(".cache/due", BUDGET, "collected-all"), collected_lacks()),
        plan=rules.plan.output,
    output:
        measured=report(
            f"{RESULTS}/measured.csv",
            caption="../report/measured.rst",
            category="Numbers",
            labels={"file": "measured.csv"},
        ),
        curves=f"{RESULTS}/curves.csv",
        codes=f"{RESULTS}/codes.csv",
        pictures=directory(f"{RESULTS}/reconstructions"),
    log:
        f"logs/{BUDGET}/collect.log",
    params:
        table="",
        folder=subpath(output.measured, parent=True),
    message:
        "Collect every cell's numbers"


rule table:
    input:
        plan=rules.plan.output,
        measured=rules.collect.output.measured,
        published=published_files,
    output:
        f"{RESULTS}/tables/{{table}}.md",
        f"{RESULTS}/tables/{{table}}.csv",
        f"{RESULTS}/tables/{{table}}.tex",
        report(
            f"{RESULTS}/tables/{{table}}.html",
            caption="../report/table.rst",
            category="Tables",
            labels=lambda wildcards: {
                "table": GRID.tables[table_asked(wildcards)]["title"]
            },
        ),
    log:
        f"logs/{BUDGET}/tables/{{table}}.log",
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output[0], parent=True),
        published=PUBLISHED,
    message:
        "Table {wildcards.table}"
    shell:
        "python -m workflows.steps.tables --plan {input.plan} --measured {input.measured}"
        " --published {params.published} --table {wildcards.table} --out {params.folder}"
        " 2>&1 | tee {log}"


rule figure:
    input:
        plan=rules.plan.output,
        measured=lambda wildcards: numbers_behind(figure_asked(wildcards)),
        films=lambda wildcards: films_of(figure_asked(wildcards)["table"]),
    output:
        report(
            f"figures/{BUDGET}/{{figure}}.svg",
            caption="../report/figure.rst",
            category="Figures",
            subcategory=table_behind,
            labels=lambda wildcards: {"figure": figure_asked(wildcards)["title"]},
        ),
        f"figures/{BUDGET}/{{figure}}.png",
    log:
        f"logs/{BUDGET}/figures/{{figure}}.log",
    conda:
        "../../environment.yml"
    params:
        collected=subpath(input.measured, parent=True),
        folder=subpath(output[0], parent=True),
    message:
        "Figure {wildcards.figure}"
    shell:
        "python -m workflows.steps.figures --plan {input.plan} --collected {params.collected}"
        " --figure {wildcards.figure}"
        " --out {params.folder} 2>&1 | tee {log}"


rule animation:
    input:
        plan=rules.plan.output,
        measured=lambda wildcards: numbers_behind(animation_asked(wildcards)),
        films=lambda wildcards: films_of(animation_asked(wildcards)["table"]),
    output:
        f"figures/{BUDGET}/{{figure}}.gif",
    log:
        f"logs/{BUDGET}/figures/{{figure}}-animation.log",
    conda:
        "../../environment.yml"
    params:
        collected=subpath(input.measured, parent=True),
    message:
        "Animation {wildcards.figure}"
    shell:
        "python -m workflows.steps.animation --plan {input.plan} --collected {params.collected}"
        " --out {output} 2>&1 | tee {log}"


rule verdicts:
    input:
        plan=rules.plan.output,
        measured=rules.collect_all.output.measured,
        published=published_files,
    output:
        f"{RESULTS}/verdicts.csv",
        f"{RESULTS}/verdicts.md",
        report(
            f"{RESULTS}/verdicts.html",
            caption="../report/verdicts.rst",
            category="Verdicts",
            labels={"claims": "all of the paper's"},
        ),
    log:
        f"logs/{BUDGET}/verdicts.log",
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output[0], parent=True),
        published=PUBLISHED,
    message:
        "Judge the claims of the paper"
    shell:
        "python -m workflows.steps.verdicts --plan {input.plan} --measured {input.measured}"
        " --published {params.published} --out {params.folder} 2>&1 | tee {log}"
