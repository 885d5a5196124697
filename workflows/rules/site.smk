localrules:
    site,


rule site:
    input:
        plan=rules.plan.output,
        collected=[
            rules.collect_all.output.measured,
            rules.collect_all.output.curves,
            rules.collect_all.output.codes,
            rules.collect_all.output.pictures,
        ],
        by_table=expand(
            f"{RESULTS}/collected/{{table}}/measured.csv", table=GRID.tables
        ),
        verdicts=f"{RESULTS}/verdicts.csv",
        published=published_files,
        tables=expand(f"{RESULTS}/tables/{{table}}.csv", table=GRID.tables),
        figures=expand(f"figures/{BUDGET}/{{figure}}.svg", figure=FIGURES),
        animations=expand(f"figures/{BUDGET}/{{figure}}.gif", figure=ANIMATIONS),
    output:
        directory(f"{RESULTS}/site"),
    log:
        f"logs/{BUDGET}/site.log",
    conda:
        "../../environment.yml"
    params:
        results=lambda wildcards, input: Path(input.verdicts).parent,
        figures=lambda wildcards, input: Path(input.figures[0]).parent,
        published=PUBLISHED,
    message:
        f"Site: open {RESULTS}/site/index.html"
    shell:
        "python -m workflows.steps.site --results {params.results} --published {params.published}"
        " --figures {params.figures} --out {output} 2>&1 | tee {log}"
