rule plan:
    input:
        due(f"{BUDGET}/.plan", RUN.plan_is_due()),
        lambda wildcards: RUN.dataset_records(GRID.cells),
    output:
        f"{RESULTS}/plan.json",
    log:
        f"logs/{BUDGET}/plan.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        missing=lambda wildcards: json.dumps(RUN.unavailable_now()),
    message:
        "Write down what the tables show"
    shell:
        f"python -m workflows.steps.plan --budget {BUDGET}"
        " --missing {params.missing:q} --out {output} 2>&1 | tee {log}"


# Each table has a rule of its own, so that a cell that ran again renews only the tables and figures
# that show this cell. Snakemake deletes the outputs of a job before the job runs. Outputs marked with
# update() may be published, so Snakemake puts them back if the job fails.
for TABLE in GRID.tables:
    FIGURES = RUN.figures_of(TABLE)

    rule:
        name:
            f"table_{TABLE}"
        input:
            lambda wildcards, table=TABLE: RUN.records_of(table),
            plan=rules.plan.output,
            published=RUN.published,
        output:
            update([file for file in FIGURES if not file.endswith(".svg")]),
            report(
                update(multiext(f"{RESULTS}/tables/{TABLE}", ".md", ".csv", ".tex")),
                caption="../report/table.rst",
                category="Tables",
                subcategory=GRID.tables[TABLE].title,
            ),
            report(
                update([file for file in FIGURES if file.endswith(".svg")]),
                caption="../report/figure.rst",
                category="Figures",
                subcategory=GRID.tables[TABLE].title,
            ),
        log:
            f"logs/{BUDGET}/tables/{TABLE}.log",
        localrule: True
        conda:
            "../../environment.yml"
        params:
            # Snakemake fills in the command when the loop has ended and TABLE is the last table.
            table=TABLE,
        message:
            f"Table {TABLE}"
        shell:
            f"python -m workflows.render --budget {BUDGET} --table {{params.table}} 2>&1 | tee {{log}}"


rule site:
    input:
        lambda wildcards: RUN.records_of(),
        plan=rules.plan.output,
        published=RUN.published,
        tables=expand(f"{RESULTS}/tables/{{table}}.csv", table=GRID.tables),
    output:
        update(f"{RESULTS}/curves.csv"),
        f"{RESULTS}/codes.csv",
        directory(f"{RESULTS}/site"),
        report(
            update(f"{RESULTS}/measured.csv"),
            caption="../report/measured.rst",
            category="Numbers",
        ),
        report(
            update(multiext(f"{RESULTS}/verdicts", ".md", ".csv")),
            caption="../report/verdicts.rst",
            category="Verdicts",
        ),
    log:
        f"logs/{BUDGET}/site.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        f"Site: open {RESULTS}/site/index.html"
    shell:
        f"python -m workflows.render --budget {BUDGET} --site 2>&1 | tee {{log}}"
