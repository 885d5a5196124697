# From data to the paper's tables: `snakemake --cores 8 all_tables`.
# One cell: `make cell CELL=<cell>` (`make cells` lists the cells).
from snakemake.utils import min_version

min_version("9.14")


report: "workflows/report/workflow.rst"


include: "workflows/rules/common.smk"
include: "workflows/rules/inputs.smk"
include: "workflows/rules/data.smk"
include: "workflows/rules/cells.smk"
include: "workflows/rules/generation.smk"
include: "workflows/rules/tables.smk"


rule all_tables:
    default_target: True
    input:
        # The records are named beside the tables, so that a deleted cell is made again.
        lambda wildcards: RUN.records_of(),
        f"{RESULTS}/measured.csv",
        f"{RESULTS}/verdicts.csv",
        expand(f"{RESULTS}/tables/{{table}}.md", table=GRID.tables),
        f"{RESULTS}/site",
